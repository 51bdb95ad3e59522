"""What comes before the answer, with foreign stacks: reliable provisional responses, early media both ways, and a
transfer to one whose phone still rings."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallAnswered,
    CallArrived,
    CallConnected,
    CallEnded,
    CallOutcome,
    CallTransferred,
    LegAnswered,
    LegEarlyMedia,
    PhoneRegistered,
    TransferResult,
)
from kernel.ids import AgentName
from tests.interop.conftest import four_agents
from tests.interop.hotline import agent, agent_options, caller, heard, talk
from tests.interop.test_trace import command
from tests.support.peers import sipp_reliable
from tests.support.peers.remote import Phone, free_ports, phone
from tests.support.site import Site, serving

pytestmark = pytest.mark.interop

SORRY = """
start: sorry
languages: [en]
nodes:
  sorry: {play: goodbye, early: true, next: gone}
  gone: {hangup: not_in_service, status: 404}
"""
WAIT = """
start: wait
languages: [en]
nodes:
  wait: {play: goodbye, early: true, next: queue}
  queue: {enqueue: billing, otherwise: hangup}
"""
TELEPHONE = AgentName("telephone")


class Stage(NamedTuple):
    site: Site
    telephone: int
    """Port of the telephone behind the trunk."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    port = free_ports(1)[0]

    def edit(config: dict[str, Any]) -> None:
        four_agents(config)
        config["callwright"] |= {"country": "CN", "numbers": {"1001": "wait", "1404": "sorry"}}
        config["agents"]["agents"][str(TELEPHONE)] = {
            "display": "Telephone",
            "phone": "139 1234 5678",
            "trunks": "carrier",
            "skills": {"billing": 5, "zh": 10, "en": 10},
        }
        target = {"host": "127.0.0.1", "port": port}
        outbound = {"targets": [target], "domain": "op.example", "number": "+864001001001", "health": {"every": 0}}
        config["trunks"]["trunks"]["carrier"] = {"outbound": outbound}

    with serving(edit, prepare=_flows) as site:
        yield Stage(site, port)


def _flows(folder: Path) -> None:
    (folder / "ivr_flows").mkdir(parents=True)
    for name, text in (("sorry", SORRY), ("wait", WAIT)):
        (folder / "ivr_flows" / f"{name}.yaml").write_text(text)


@contextlib.contextmanager
def registered(site: Site, user: str, folder: Path, **change: str) -> Iterator[Phone]:
    """One more pjsua, as the phone of another agent, who need not be ready."""
    before = site.last()
    with phone("pjsua", agent_options(site, user, folder, **change)) as it:
        it.do("register")
        it.wait("registered")
        site.wait(PhoneRegistered, after=before)
        yield it
        with contextlib.suppress(AssertionError):
            it.do("unregister")


def loud(it: Phone) -> float:
    """Seconds of anything but silence in what a phone heard."""
    rate, samples = it.heard()
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.float64)
    return float((np.abs(frames).max(axis=1) > 300).sum() * 160 / rate)


@pytest.mark.parametrize(
    ("kind", "reliable"), [("pjsua", "required"), ("pjsua", ""), ("baresip", "required"), ("baresip", "")]
)
def test_an_announcement_to_a_call_that_is_never_answered(
    stage: Stage, tmp_path: Path, kind: str, reliable: str
) -> None:
    site, before = stage.site, stage.site.last()
    with caller(site, kind, tmp_path, reliable=reliable) as one:
        one.do("call", to="1404")
        closed = one.wait("closed")
        assert closed["by"] == "there"
        if kind == "pjsua":
            assert "404" in closed["why"]
        ended = site.wait(CallEnded, after=before)
        assert (ended.outcome, ended.sip_status, ended.reason) == (CallOutcome.REFUSED, 404, "not_in_service")
        assert loud(one) > 1.0
        told = [record.event for record in site.events(before)]
        assert any(isinstance(event, LegEarlyMedia) for event in told)
        assert not any(isinstance(event, CallAnswered) for event in told)
        if reliable:
            ladder = command(site, "sip", "trace", "--call", ended.call)
            assert "200 OK (PRACK)" in ladder
            assert "Bad Request" not in ladder


def test_sipp_calls_and_sipp_answers_reliably(stage: Stage, tmp_path: Path) -> None:
    """Early media to the caller, PRACK, the queue; the telephone rings, sounds and answers, each step acknowledged."""
    site, before = stage.site, stage.site.last()
    ports = free_ports(3)
    telephone = sipp_reliable.start(tmp_path, "telephone", sipp_reliable.TELEPHONE, stage.telephone, ports[0])
    site.agent(TELEPHONE, "ready")
    site.wait(AgentStateChanged, after=before, agent=TELEPHONE, state=AgentState.READY)
    more = (site.registrar, "-s", "1001")
    calling = sipp_reliable.start(tmp_path, "caller", sipp_reliable.CALLER, ports[1], ports[2], *more)
    try:
        assert (calling.wait(30), telephone.wait(30)) == (0, 0), _errors(tmp_path)
    finally:
        for process in (calling, telephone):
            process.kill()
            process.wait()
        site.agent(TELEPHONE, "not_ready")
    arrived = site.wait(CallArrived, after=before)
    assert site.wait(CallConnected, after=before, call=arrived.call).agent == TELEPHONE
    early = [r.event.leg[-2:] for r in site.events(before) if isinstance(r.event, LegEarlyMedia)]
    assert early == ["-1", "-2"]
    assert site.wait(CallEnded, after=before, call=arrived.call).outcome is CallOutcome.SERVED


def _errors(folder: Path) -> str:
    return "\n".join(file.read_text(errors="replace")[-1500:] for file in folder.glob("*.errors"))


def test_whoever_calls_a_colleague_hears_his_phone_before_the_answer(stage: Stage, tmp_path: Path) -> None:
    site, before = stage.site, stage.site.last()
    with (
        registered(site, "pjsua", tmp_path, reliable="required") as one,
        registered(site, "sipp", tmp_path, reliable="required") as other,
    ):
        one.do("call", to=other.options.user)
        other.wait("incoming")
        other.do("progress")
        site.wait(LegEarlyMedia, after=before)
        talk(2.0)
        other.do("decline")
        closed = one.wait("closed")
        assert closed["by"] == "there"
        assert heard(one, other) > 1.0
        assert not any(isinstance(record.event, LegAnswered) for record in site.events(before))


def test_a_transfer_to_one_whose_phone_still_rings(stage: Stage, tmp_path: Path) -> None:
    """pjsua asks for an attended transfer before the consultation is answered: the caller rings in its place. It
    insists on PRACK in both of its calls."""
    site, before = stage.site, stage.site.last()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(agent(site, "pjsua", tmp_path, reliable="required"))
        second = stack.enter_context(registered(site, "sipp", tmp_path))
        one = stack.enter_context(caller(site, "baresip", tmp_path))
        one.do("call", to="1001")
        first.wait("incoming")
        first.do("answer")
        first.wait("established")
        call = site.wait(CallConnected, after=before).call
        talk(1.0)
        first.do("hold")
        first.wait("held")
        first.do("consult", to=second.options.user)
        second.wait("incoming")
        first.wait("ringing")
        first.do("join")
        second.wait("closed")
        second.wait("incoming")
        second.do("answer")
        second.wait("established")
        assert site.wait(CallTransferred, after=before, call=call).result is TransferResult.COMPLETED
        talk(1.5)
        one.do("hangup")
        second.wait("closed")
        assert heard(second, one) > 1.0
        assert site.wait(CallEnded, after=before, call=call).outcome is CallOutcome.SERVED
