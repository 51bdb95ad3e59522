"""An agent's foreign phone dials *8 while another rings: the caller is his, and the other's phone is still."""

import contextlib
from pathlib import Path

import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallConnected,
    CallEnded,
    CallOutcome,
    CallReleased,
    OfferMissed,
    OfferWithdrawn,
    RecordingStopped,
    Withdrawal,
)
from kernel.ids import AgentName
from tests.interop.hotline import agent, agent_options, caller, choose, heard, talk
from tests.support.peers.remote import phone
from tests.support.site import Site
from tests.support.tones import read_wav, seconds_of

pytestmark = pytest.mark.interop


def test_a_call_that_rings_at_another_phone(site: Site, tmp_path: Path) -> None:
    before = site.last()
    rung, picker = "pjsua", "baresip"
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(caller(site, "pyvoip", tmp_path))
        first = stack.enter_context(agent(site, rung, tmp_path))
        second = stack.enter_context(phone(picker, agent_options(site, picker, tmp_path)))  # at his desk, not ready
        second.do("register")
        second.wait("registered")
        choose(one)
        first.wait("incoming")
        second.do("call", to=f"*8{first.options.user}")
        second.wait("established")
        first.wait("closed")
        connected = site.wait(CallConnected, after=before)
        assert (connected.agent, connected.queue, connected.via) == (picker, "billing", "queue")
        talk(2.0)
        one.do("hangup")
        second.wait("closed")
        call = connected.call
        assert site.wait(CallEnded, after=before, call=call).outcome is CallOutcome.SERVED
        withdrawn = site.wait(OfferWithdrawn, after=before, call=call)
        assert (withdrawn.agent, withdrawn.why) == (rung, Withdrawal.PICKED_UP)
        assert site.wait(CallReleased, after=before, call=call).talked > 1.0
        events = [record.event for record in site.events(before)]
        assert not any(isinstance(event, OfferMissed) for event in events)
        states = [event for event in events if isinstance(event, AgentStateChanged) and event.agent == rung]
        assert states[-1].state is AgentState.READY
        assert heard(second, one) > 1.0
        assert heard(one, second) > 1.0
        recorded = site.wait(RecordingStopped, after=before, call=call)
        rate, samples = read_wav(site.recordings / recorded.path)
        assert seconds_of(second.options.tone_hz, samples[:, 1], rate=rate) > 0.8
        site.agent(AgentName(picker), "logout")
        second.do("unregister")
