"""What the interop tests do again and again: phones of the site, an agent at its desk, a look at the recording."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from events.types import (
    AgentState,
    AgentStateChanged,
    CallArrived,
    CallConnected,
    CallEnded,
    CallUnbridged,
    EndedBy,
    PhoneRegistered,
    RecordingStopped,
)
from kernel.ids import AgentName, CallId
from tests.interop.conftest import KINDS
from tests.support.peers.remote import Options, Phone, phone
from tests.support.site import Site
from tests.support.tones import PHONES, Samples, read_wav, seconds_of

TALK = 2.0
"""Seconds of talk. Real audio takes real time: the only waits in these tests."""
CANNOT_HOLD = {"pyvoip"}


def talk(seconds: float = TALK) -> None:
    time.sleep(seconds)


@contextlib.contextmanager
def caller(site: Site, kind: str, folder: Path, **change: str) -> Iterator[Phone]:
    """A phone at the trusted trunk, with a number of its own. change: further options of the phone."""
    sip_port, rtp_port = site.phone_ports()
    options = Options(
        user=f"1390000{1 + KINDS.index(kind)}",
        registrar=site.registrar,
        sip_port=sip_port,
        rtp_port=rtp_port,
        tone_hz=PHONES[KINDS.index(kind)],
        capture=str(folder / f"caller-{kind}.wav"),
        **change,  # type: ignore[arg-type]
    )
    with phone(kind, options) as it:
        yield it


def agent_options(site: Site, kind: str, folder: Path, **change: str) -> Options:
    sip_port, rtp_port = site.phone_ports()
    return Options(
        user=str(8001 + KINDS.index(kind)),
        password=f"secret-{kind}",
        domain=DOMAIN,
        registrar=site.registrar,
        sip_port=sip_port,
        rtp_port=rtp_port,
        tone_hz=PHONES[4 + KINDS.index(kind)],
        capture=str(folder / f"agent-{kind}.wav"),
        **change,  # type: ignore[arg-type]
    )


DOMAIN = "callwright.local"


@contextlib.contextmanager
def agent(site: Site, kind: str, folder: Path, **change: str) -> Iterator[Phone]:
    """A registered phone whose agent is ready; at the end logged out and unregistered. change: as for `caller`."""
    name, before = AgentName(kind), site.last()
    with phone(kind, agent_options(site, kind, folder, **change)) as it:
        it.do("register")
        it.wait("registered")
        site.wait(PhoneRegistered, after=before)
        site.agent(name, "login")
        site.agent(name, "ready")
        site.wait(AgentStateChanged, after=before, agent=name, state=AgentState.READY)
        try:
            yield it
        finally:
            site.agent(name, "logout")
            with contextlib.suppress(AssertionError):  # a phone that died said so already
                it.do("unregister")


def choose(one: Phone) -> None:
    """Call the hotline and press 1, into the greeting, which that cuts short."""
    one.do("call", to="1001")
    one.wait("established")
    talk(0.5)
    one.do("dtmf", digits="1")


def take_up(two: Phone) -> None:
    """Answer what rings, or will."""
    two.wait("incoming")
    two.do("answer")
    two.wait("established")


def connect(site: Site, after: int, one: Phone, two: Phone) -> CallId:
    """The caller presses 1 and talks to the agent."""
    choose(one)
    take_up(two)
    call = site.wait(CallConnected, after=after).call
    talk(1.5)
    return call


class Three(NamedTuple):
    """A caller and an agent, who talk, and another agent, who is ready."""

    one: Phone
    first: Phone
    second: Phone
    call: CallId


@contextlib.contextmanager
def three(site: Site, folder: Path, *kinds: str) -> Iterator[Three]:
    """kinds: of each."""
    before, (one_kind, first_kind, second_kind) = site.last(), kinds
    with caller(site, one_kind, folder) as one, agent(site, first_kind, folder) as first:
        call = connect(site, before, one, first)
        with agent(site, second_kind, folder) as second:
            yield Three(one, first, second, call)


def recording(site: Site, after: int, call: CallId, number: int = 1) -> tuple[int, Samples]:
    """Rate and samples (left, right) of a call's recording, when it is whole. number: of the talk, from 1."""
    name = f"{call}.wav" if number == 1 else f"{call}-{number}.wav"
    found = next(path for path in site.recordings.rglob(name))
    site.wait(RecordingStopped, after=after, call=call, path=str(found.relative_to(site.recordings)))
    return read_wav(found)


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that is over, and what is left of it."""

    ended: CallEnded
    talked: float
    talk_ended_by: EndedBy
    rate: int
    left: Samples
    right: Samples


def finished(site: Site, after: int) -> Finished:
    """The one call that arrived behind `after`: its end and its recording."""
    arrived = site.wait(CallArrived, after=after)
    ended = site.wait(CallEnded, after=after, call=arrived.call)
    bridged = site.wait(CallUnbridged, after=after, call=arrived.call)
    recorded = site.wait(RecordingStopped, after=after, call=arrived.call)
    rate, samples = read_wav(site.recordings / recorded.path)
    assert samples.shape[1] == 2
    return Finished(ended, bridged.talked, bridged.ended_by, rate, samples[:, 0], samples[:, 1])


def heard(it: Phone, other: Phone) -> float:
    """Seconds for which a phone heard the other's tone in its last call."""
    rate, samples = it.heard()
    return seconds_of(other.options.tone_hz, samples, rate=rate)


def on_channel(call: Finished, channel: str, it: Phone) -> float:
    """Seconds for which the phone's tone is the strongest on the recording's `left` or `right` channel."""
    samples = call.left if channel == "left" else call.right
    return seconds_of(it.options.tone_hz, samples, rate=call.rate)
