"""Foreign phones call 1001 and answer as agents: keys, talk, hold, hang-up from either side, all of it heard."""

from pathlib import Path

import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallEnded,
    CallHeld,
    CallOutcome,
    CallQueued,
    CallResumed,
    DigitPressed,
    EndedBy,
    LegEnded,
    OfferWithdrawn,
)
from kernel.ids import AgentName
from tests.interop.hotline import CANNOT_HOLD, TALK, agent, caller, finished, heard, on_channel, talk
from tests.interop.matrix import FULL
from tests.support.peers.remote import Phone
from tests.support.site import Site

pytestmark = pytest.mark.interop

PAIRS = [("sipp", "baresip"), ("baresip", "pjsua"), ("pjsua", "pyvoip"), ("pyvoip", "sipp"), ("baresip", "sipp")]
ENDS = [(*pair, side) for pair in PAIRS for side in ("caller", "agent")]
"""Who calls, who answers, which side hangs up."""
CHOSEN = [("sipp", "baresip", "caller"), ("pjsua", "pyvoip", "agent"), ("pyvoip", "sipp", "agent")]


def _connect(site: Site, before: int, one: Phone, two: Phone) -> None:
    """The caller dials 1001 and presses 1; the agent's phone rings and is answered."""
    one.do("call", to="1001")
    one.wait("established")
    talk(0.5)
    one.do("dtmf", digits="1")  # into the greeting, which it cuts short
    assert site.wait(DigitPressed, after=before).digit == "1"
    site.wait(CallQueued, after=before, queue="billing")
    ringing = two.wait("incoming")
    assert ringing["from"] == one.options.user
    two.do("answer")
    two.wait("established")


def _hold_and_resume(site: Site, before: int, one: Phone, two: Phone) -> None:
    for it in (two, one):
        if it.kind in CANNOT_HOLD:
            continue
        before = site.last()
        it.do("hold")
        it.wait("held")
        site.wait(CallHeld, after=before)
        it.do("resume")
        it.wait("resumed")
        site.wait(CallResumed, after=before)


@pytest.mark.parametrize(("calling", "answering", "hangs_up"), ENDS if FULL else CHOSEN)
def test_call_from_key_to_hangup(site: Site, tmp_path: Path, calling: str, answering: str, hangs_up: str) -> None:
    before = site.last()
    with agent(site, answering, tmp_path) as two, caller(site, calling, tmp_path) as one:
        _connect(site, before, one, two)
        talk()
        _hold_and_resume(site, before, one, two)
        talk()
        first, second = (one, two) if hangs_up == "caller" else (two, one)
        first.do("hangup")
        closed = first.wait("closed")
        assert closed["by"] == "here", closed
        closed = second.wait("closed")
        assert closed["by"] == "there", closed
        call = finished(site, before)
        assert (call.ended.outcome, call.ended.sip_status) == (CallOutcome.SERVED, 200)
        assert call.talk_ended_by == (EndedBy.CALLER if hangs_up == "caller" else EndedBy.AGENT)
        assert call.talked > 2 * TALK
        assert heard(one, two) > TALK
        assert heard(two, one) > TALK
        assert (on_channel(call, "left", one), on_channel(call, "right", two)) > (TALK, TALK)
        assert on_channel(call, "left", two) == on_channel(call, "right", one) == 0
        site.wait(AgentStateChanged, after=before, agent=AgentName(answering), state=AgentState.WRAP_UP)
        site.wait(
            AgentStateChanged,
            after=before,
            agent=AgentName(answering),
            state=AgentState.READY,
            previous=AgentState.WRAP_UP,
        )


@pytest.mark.parametrize("ringing", ["sipp", "baresip", "pjsua", "pyvoip"])
def test_caller_gives_up_while_the_agents_phone_rings(site: Site, tmp_path: Path, ringing: str) -> None:
    """The agent's INVITE is cancelled; nothing is left, and the agent is ready again."""
    before = site.last()
    with agent(site, ringing, tmp_path) as two, caller(site, "pjsua" if ringing == "sipp" else "sipp", tmp_path) as one:
        one.do("call", to="1001")
        one.wait("established")
        talk(0.5)
        one.do("dtmf", digits="1")
        two.wait("incoming")
        one.do("hangup")
        ended = site.wait(CallEnded, after=before)
        assert ended.outcome is CallOutcome.ABANDONED_QUEUE
        site.wait(OfferWithdrawn, after=before, agent=AgentName(ringing))
        if ringing != "pyvoip":  # it answers CANCEL and goes on ringing
            assert two.wait("closed")["by"] == "there"
            site.wait(LegEnded, after=before, ended_by=EndedBy.CALLER)
        site.wait(
            AgentStateChanged,
            after=before,
            agent=AgentName(ringing),
            state=AgentState.READY,
            previous=AgentState.OFFERED,
        )
