"""Three foreign phones in one talk: a tone each shows who hears whom, before, in it, and after one has left."""

from pathlib import Path

import pytest

from events.types import (
    AgentConsulted,
    AgentJoined,
    AgentLeft,
    CallConnected,
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
from tests.support.tones import presence

pytestmark = pytest.mark.interop


def _both(it: Phone, others: tuple[Phone, Phone]) -> float:
    """Seconds for which a phone heard both of the others at once."""
    rate, samples = it.heard()
    return presence([other.options.tone_hz for other in others], samples, rate=rate)


@pytest.mark.parametrize("leaves", ["agent", "colleague"])
def test_three_talk_and_two_go_on(site: Site, tmp_path: Path, leaves: str) -> None:
    before = site.last()
    with three(site, tmp_path, "pyvoip", "pjsua", "baresip") as (one, first, second, call):
        site.hand_over("pjsua", "consult", second.options.user)
        take_up(second)
        talk(1.5)
        if leaves == "agent":
            first.do("dtmf", digits="*3")
        else:
            site.hand_over("pjsua", "conference")
        joined = site.wait(AgentJoined, after=before, call=call)
        assert (joined.agent, joined.by) == ("baresip", "pjsua")
        talk(2.5)
        leaver, stays = (first, second) if leaves == "agent" else (second, first)
        leaver.do("hangup")
        result = site.wait(CallTransferred, after=before, call=call).result
        assert result is (TransferResult.COMPLETED if leaves == "agent" else TransferResult.RETURNED)
        talk(1.5)
        one.do("hangup")
        stays.wait("closed")
        ended = site.wait(CallEnded, after=before, call=call)
        assert ended.outcome is CallOutcome.SERVED
        _told(site, before, call, leaves, ended.talked)
        assert _both(one, (first, second)) > 1.2
        assert _both(first, (one, second)) > 1.2
        assert _both(second, (one, first)) > 1.2
        assert heard(stays, one) > 0.8
        _, conference = recording(site, before, call, 2)
        assert presence([one.options.tone_hz], conference[:, 0]) > 1.2
        tones = [first.options.tone_hz, second.options.tone_hz]
        assert presence(tones, conference[:, 1]) > 1.2
        assert [presence([hz], conference[:, 0]) for hz in tones] == [0.0, 0.0]
        assert presence([one.options.tone_hz], conference[:, 1]) == 0.0


def _told(site: Site, before: int, call: CallId, leaves: str, talked: float) -> None:
    """Each agent's own seconds, and the caller's once."""
    consulted = site.wait(AgentConsulted, after=before, call=call)
    left = site.wait(AgentLeft, after=before, call=call)
    one = site.wait(CallReleased, after=before, call=call, agent=AgentName("pjsua"))
    assert consulted.talked > 1.0
    assert 2.0 < left.talked < 4.0
    if leaves == "agent":
        site.wait(CallConnected, after=before, call=call, agent=AgentName("baresip"))
        two = site.wait(CallReleased, after=before, call=call, agent=AgentName("baresip"))
        assert abs(one.talked + two.talked - talked) < 0.1
        assert two.talked > 1.0
    else:
        assert abs(one.talked - talked) < 0.1
