"""Agents' own phones transfer: blind and attended, with audio that shows who hears whom, and statistics."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from events.types import (
    AgentStateChanged,
    CallEnded,
    CallOutcome,
    CallReleased,
    CallTransferred,
    TransferResult,
)
from kernel.ids import AgentName, CallId
from tests.interop.hotline import heard, recording, take_up, talk, three
from tests.support.peers.remote import Phone
from tests.support.site import Site
from tests.support.tones import seconds_of

pytestmark = pytest.mark.interop


def _ended(site: Site, before: int, call: CallId, first: str, second: str) -> None:
    """Each agent's talk is told once, and the call ended once."""
    ended = site.wait(CallEnded, after=before, call=call)
    assert ended.outcome is CallOutcome.SERVED
    one = site.wait(CallReleased, after=before, call=call, agent=AgentName(first))
    two = site.wait(CallReleased, after=before, call=call, agent=AgentName(second))
    assert (one.queue, two.queue, two.via) == ("billing", "", "transfer")
    assert one.talked > 1.0
    assert two.talked > 1.0
    assert abs(one.talked + two.talked - ended.talked) < 0.1


def _recordings(site: Site, before: int, call: CallId, one: Phone, agents: tuple[Phone, Phone]) -> None:
    """One file a part: the caller left, the agent of that part right."""
    for number, other in enumerate(agents, 1):
        rate, samples = recording(site, before, call, number)
        assert seconds_of(one.options.tone_hz, samples[:, 0], rate=rate) > 0.8
        assert seconds_of(other.options.tone_hz, samples[:, 1], rate=rate) > 0.8


@pytest.mark.parametrize(("kind", "other"), [("pjsua", "baresip"), ("baresip", "pjsua")])
def test_blind_transfer_to_a_colleague(site: Site, tmp_path: Path, kind: str, other: str) -> None:
    before = site.last()
    with three(site, tmp_path, "pyvoip", kind, other) as (one, first, second, call):
        first.do("transfer", to=second.options.user)
        take_up(second)
        first.wait("closed")
        talk(2.0)
        one.do("hangup")
        second.wait("closed")
        assert site.wait(CallTransferred, after=before, call=call).result is TransferResult.COMPLETED
        _ended(site, before, call, kind, other)
        assert heard(second, one) > 1.0
        _recordings(site, before, call, one, (first, second))


def test_blind_transfer_to_a_queue(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with three(site, tmp_path, "baresip", "pjsua", "baresip") as (one, first, second, call):
        first.do("transfer", to="billing")
        take_up(second)
        first.wait("closed")
        talk(1.5)
        second.do("hangup")
        one.wait("closed")
        released = site.wait(CallReleased, after=before, call=call, agent=AgentName("baresip"))
        assert (released.queue, released.via) == ("billing", "queue")


def test_blind_transfer_to_one_who_declines_gives_the_caller_back(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with three(site, tmp_path, "baresip", "pjsua", "baresip") as (one, first, second, call):
        first.do("transfer", to=second.options.user)
        second.wait("incoming")
        second.do("decline")
        declined = (TransferResult.DECLINED, TransferResult.BUSY)  # baresip declines with 486
        assert site.wait(CallTransferred, after=before, call=call).result in declined
        talk(1.5)
        first.do("hangup")
        one.wait("closed")
        [released] = [site.wait(CallReleased, after=before, call=call)]
        assert released.agent == "pjsua"
        assert released.talked > 2.5


def test_attended_transfer_by_baresip(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with three(site, tmp_path, "pyvoip", "baresip", "pjsua") as (one, first, second, call):
        with ThreadPoolExecutor() as beside:
            dialling = beside.submit(first.do, "consult", to=second.options.user)
            take_up(second)
            dialling.result()
        talk(1.5)
        first.do("join")
        assert site.wait(CallTransferred, after=before, call=call).result is TransferResult.COMPLETED
        first.wait("closed")
        talk(2.0)
        one.do("hangup")
        second.wait("closed")
        _ended(site, before, call, "baresip", "pjsua")
        assert heard(second, one) > 1.0
        _recordings(site, before, call, one, (first, second))


@pytest.mark.parametrize("by", ["first", "consult"])
def test_attended_transfer(site: Site, tmp_path: Path, by: str) -> None:
    before = site.last()
    with three(site, tmp_path, "pyvoip", "pjsua", "baresip") as (one, first, second, call):
        first.do("hold")
        first.wait("held")
        first.do("consult", to=second.options.user)
        take_up(second)
        first.wait("established")
        talk(1.5)
        first.do("join", by=by)
        assert site.wait(CallTransferred, after=before, call=call).result is TransferResult.COMPLETED
        first.wait("consult_closed")
        first.wait("closed")
        talk(2.0)
        one.do("hangup")
        second.wait("closed")
        _ended(site, before, call, "pjsua", "baresip")
        consult = site.wait(CallEnded, after=before, outcome=CallOutcome.CONSULT)
        assert consult.talked > 1.0
        assert heard(second, one) > 1.0
        assert heard(second, first) > 0.8
        _recordings(site, before, call, one, (first, second))
        states = site.wait(AgentStateChanged, after=before, agent=AgentName("baresip"), state="wrap_up")
        assert states.call == call
