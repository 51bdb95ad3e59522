"""kill -9 of a media process under calls of foreign phones: of one of two, with a call on each, and of the only one."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from engine.relocation import WAIT
from events.types import (
    CallArrived,
    CallBridged,
    CallEnded,
    CallOutcome,
    CallQueued,
    DigitPressed,
    LegMediaMoved,
    LegMediaReported,
    MediaReported,
    ProcessStarted,
    RecordingStarted,
    RecordingStopped,
)
from kernel.ids import CallId
from tests.interop.conftest import four_agents
from tests.interop.hotline import TALK, agent, caller, talk
from tests.interop.matrix import FULL
from tests.support.peers.remote import Phone, is_free
from tests.support.site import Site, serving
from tests.support.tones import QUIET, dominant, read_wav, rms, seconds_of

pytestmark = pytest.mark.interop

PAIRS = [("pjsua", "sipp", "baresip"), ("sipp", "baresip", "pjsua"), ("baresip", "sipp", "pjsua")]
"""Caller and agent of the call that loses its media process; make of both phones of the other call, one that tells by
RTCP what it missed. Silence is measured at pjsua, which writes down what it hears by the clock; others leave out what
did not come."""
GAP_WITHIN = 2.0
"""Seconds of silence at the far end: what a re-INVITE takes its peers on a busy machine, and no time-out."""
STEP = 0.02


ALONE = [("pjsua", "baresip"), ("sipp", "pjsua"), ("baresip", "sipp")]
RESTART_WITHIN = WAIT + GAP_WITHIN
"""Seconds of silence when there is no other: the start of a process more."""


def _serving(processes: int) -> Iterator[Site]:
    def edit(config: dict[str, Any]) -> None:
        four_agents(config)
        config["callwright"]["media"]["processes"] = processes

    with serving(edit) as running:
        yield running


@pytest.fixture(scope="module")
def two_processes() -> Iterator[Site]:
    yield from _serving(2)


@pytest.fixture
def one_process() -> Iterator[Site]:
    """A new one for each test: a process that dies again soon is started again later."""
    yield from _serving(1)


@dataclass(frozen=True, slots=True)
class Talk:
    id: CallId
    one: Phone
    two: Phone
    media: int
    """Number of the media process."""


def _connect(site: Site, one: Phone, two: Phone) -> Talk:
    before, taken = site.last(), _used(site)
    one.do("call", to="1001")
    one.wait("established")
    talk(0.5)
    one.do("dtmf", digits="1")
    site.wait(DigitPressed, after=before)
    site.wait(CallQueued, after=before)
    two.wait("incoming")
    two.do("answer")
    two.wait("established")
    site.wait(CallBridged, after=before)
    used = {port: media for port, media in _used(site).items() if port not in taken}
    (media,) = set(used.values())
    return Talk(site.wait(CallArrived, after=before).call, one, two, media)


def _used(site: Site) -> dict[int, int]:
    """RTP port in use -> number of its media process."""
    media = yaml.safe_load((site.folder / "config/callwright.yaml").read_text())["media"]
    first, count = media["first_port"], media["last_port"] - media["first_port"] + 1
    ports = range(first, first + count, 2)
    return {port: (port - first) * media["processes"] // count for port in ports if not is_free("127.0.0.1", port)}


def _kill(site: Site, name: str) -> None:
    started = [r.event for r in site.events() if isinstance(r.event, ProcessStarted) and r.event.process == name]
    os.kill(started[-1].pid, signal.SIGKILL)


def _hang_up(site: Site, call: Talk) -> None:
    call.one.do("hangup")
    call.one.wait("closed")
    call.two.wait("closed")
    assert site.wait(CallEnded, call=call.id).outcome is CallOutcome.SERVED


def _gap(listener: Phone, talker: Phone) -> float:
    """The longest silence while the listener heard the talker, in seconds."""
    rate, samples = listener.heard()
    n = rate // 5
    tones = [dominant(samples[at : at + n], rate=rate) for at in range(0, samples.size - n + 1, n)]
    there = np.flatnonzero([abs(hz - talker.options.tone_hz) < 25 for hz in tones])
    heard = samples[there[0] * n : (there[-1] + 1) * n]
    n = round(STEP * rate)
    loud = np.flatnonzero([rms(heard[at : at + n]) >= QUIET for at in range(0, heard.size - n + 1, n)])
    return round(float(np.diff(loud).max() - 1) * STEP, 3)


def _reports(site: Site, call: Talk) -> list[LegMediaReported]:
    return [r.event for r in site.events() if isinstance(r.event, LegMediaReported) and r.event.call == call.id]


def _recordings(site: Site, call: Talk) -> list[RecordingStopped]:
    """As many as were begun; each can be played, has both voices, and is as long as was said."""
    begun = [r.event for r in site.events() if isinstance(r.event, RecordingStarted) and r.event.call == call.id]
    found = [site.wait(RecordingStopped, call=call.id, path=event.path) for event in begun]
    for stopped in found:
        rate, samples = read_wav(site.recordings / stopped.path)
        assert abs(samples.shape[0] / rate - stopped.seconds) < 0.01
        for channel, talker in enumerate((call.one, call.two)):
            heard = seconds_of(talker.options.tone_hz, samples[:, channel], rate=rate)
            assert heard > min(TALK, stopped.seconds) / 2, (stopped, talker.kind, heard)
    return found


def _silence(call: Talk, moved: list[LegMediaMoved]) -> float:
    gaps = {"caller": _gap(call.one, call.two), "agent": _gap(call.two, call.one)}
    kinds = f"{call.one.kind} and {call.two.kind}"
    print(f"{kinds}: silence {gaps} s; agreed after {[event.gap for event in moved]} s")  # noqa: T201
    return max(gaps.values())


@pytest.mark.parametrize(("calling", "answering", "others"), PAIRS if FULL else PAIRS[:1])
def test_a_call_goes_on_and_the_others_notice_nothing(
    two_processes: Site, tmp_path: Path, calling: str, answering: str, others: str
) -> None:
    site = two_processes
    (tmp_path / "other").mkdir()
    with (
        caller(site, calling, tmp_path) as one,
        caller(site, others, tmp_path / "other") as three,
        agent(site, answering, tmp_path) as two,
    ):
        dying = _connect(site, one, two)
        with agent(site, others, tmp_path / "other") as four:
            site.wait(MediaReported, after=site.last(), media="media0")  # the load that the next call is spread by
            living = _connect(site, three, four)
            assert living.media != dying.media
            talk()
            _kill(site, f"media{dying.media}")
            moved = [site.wait(LegMediaMoved, call=dying.id, leg=f"{dying.id}-{leg}") for leg in (1, 2)]
            talk()
            _hang_up(site, dying)
            _hang_up(site, living)
    assert _silence(dying, moved) <= GAP_WITHIN
    assert max(_gap(three, four), _gap(four, three)) < 0.1, "they keep time as well as the machine lets them"
    assert [(leg.packets_lost, max(0, leg.remote_lost)) for leg in _reports(site, living)] == [(0, 0)] * 2
    assert [stopped.repaired for stopped in _recordings(site, dying)] == [True, False]
    assert [stopped.repaired for stopped in _recordings(site, living)] == [False]
    assert _recordings(site, dying)[0].seconds > TALK


@pytest.mark.parametrize(("calling", "answering"), ALONE if FULL else ALONE[:1])
def test_a_call_waits_for_the_process_that_is_started_again(
    one_process: Site, tmp_path: Path, calling: str, answering: str
) -> None:
    site = one_process
    with agent(site, answering, tmp_path) as two, caller(site, calling, tmp_path) as one:
        call = _connect(site, one, two)
        talk()
        _kill(site, "media0")
        moved = [site.wait(LegMediaMoved, call=call.id, leg=f"{call.id}-{leg}") for leg in (1, 2)]
        talk()
        _hang_up(site, call)
    assert _silence(call, moved) <= RESTART_WITHIN
    assert [stopped.repaired for stopped in _recordings(site, call)] == [True, False]
