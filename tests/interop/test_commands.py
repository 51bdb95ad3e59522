"""What an agent's desktop does with his caller, by `callwright agent …` and over HTTP, with real phones."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from events.types import (
    AgentConsulted,
    AgentJoined,
    AgentLeft,
    CallConnected,
    CallEnded,
    CallReleased,
    CallTransferred,
    OfferWithdrawn,
    TransferResult,
    Withdrawal,
)
from kernel.ids import AgentName
from tests.interop.hotline import agent, caller, choose, connect, take_up, talk
from tests.support.peers.remote import ROOT
from tests.support.site import Site

pytestmark = pytest.mark.interop


def command(site: Site, *words: str) -> tuple[int, str]:
    """Exit status, and what it printed."""
    line = [sys.executable, "-m", "app", "agent", *words, "--site", str(site.folder)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.strip()


def post(site: Site, path: str, body: Any = None, token: str = "test") -> tuple[int, Any]:
    """Status and JSON answer."""
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{site.http}/api/agents/{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_every_command_an_agent_has_for_his_caller(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(caller(site, "pyvoip", tmp_path))
        first = stack.enter_context(agent(site, "pjsua", tmp_path))
        assert command(site, "conference", "pjsua") == (1, "pjsua consults nobody")
        assert post(site, "pjsua/transfer", {"to": "billing"}) == (409, {"detail": "pjsua talks to no caller"})
        assert post(site, "pjsua/conference", token="wrong")[0] == 401
        assert post(site, "pjsua/transfer", {})[0] == 422
        call = connect(site, before, one, first)
        second = stack.enter_context(agent(site, "baresip", tmp_path))
        number = second.options.user

        assert post(site, "pjsua/consult", {"to": number}) == (200, {"result": "the phone rings"})
        take_up(second)
        assert command(site, "return", "pjsua") == (0, "pjsua: the caller is back")
        second.wait("closed")
        assert site.wait(CallTransferred, after=before, call=call).result is TransferResult.RETURNED

        assert command(site, "consult", "pjsua", number) == (0, "pjsua: the phone rings")
        take_up(second)
        assert post(site, "pjsua/conference") == (200, {"result": "all three talk"})
        site.wait(AgentJoined, after=before, call=call)
        assert post(site, "pjsua/conference") == (409, {"detail": "all of them talk already"})
        talk(0.5)
        assert post(site, "pjsua/complete") == (200, {"result": "the caller is handed over"})
        first.wait("closed")
        site.wait(CallConnected, after=before, call=call, agent=AgentName("baresip"))
        talk(0.5)

        handed = site.last()
        assert command(site, "transfer", "baresip", "nowhere")[0] == 1
        assert command(site, "transfer", "baresip", first.options.user)[0] == 0
        take_up(first)
        second.wait("closed")
        one.do("hangup")
        first.wait("closed")
        site.wait(CallEnded, after=handed, call=call)
        events = [record.event for record in site.events(before)]
        assert [event.with_agent for event in events if isinstance(event, AgentConsulted)] == ["baresip", "baresip"]
        assert len([event for event in events if isinstance(event, AgentLeft)]) == 1
        released = [event.agent for event in events if isinstance(event, CallReleased) and event.call == call]
        assert released == ["pjsua", "baresip", "pjsua"]


def test_pick_up_by_command(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(caller(site, "pyvoip", tmp_path))
        first = stack.enter_context(agent(site, "baresip", tmp_path))
        assert command(site, "pickup", "baresip") == (1, "nothing rings there")
        choose(one)
        first.wait("incoming")
        second = stack.enter_context(agent(site, "pjsua", tmp_path))
        assert post(site, "pjsua/pickup", {"at": first.options.user}) == (200, {"result": "the phone rings"})
        take_up(second)
        first.wait("closed")
        assert site.wait(CallConnected, after=before).agent == "pjsua"
        withdrawn = site.wait(OfferWithdrawn, after=before)
        assert (withdrawn.agent, withdrawn.why) == ("baresip", Withdrawal.PICKED_UP)
        one.do("hangup")
        second.wait("closed")
