"""Foreign phones register with digest, are refused with a wrong password, and dial the agents' feature codes."""

from dataclasses import replace
from pathlib import Path

import pytest

from events.types import AgentState, AgentStateChanged, PhoneRegistered, PhoneUnregistered
from kernel.ids import AgentName
from tests.interop.conftest import KINDS
from tests.interop.hotline import agent_options
from tests.interop.matrix import FULL
from tests.support.peers.remote import PeerError, phone
from tests.support.site import Site

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("kind", KINDS)
def test_phone_registers_and_unregisters(site: Site, tmp_path: Path, kind: str) -> None:
    before = site.last()
    options = agent_options(site, kind, tmp_path)
    with phone(kind, options) as it:
        it.do("register")
        it.wait("registered")
        registered = site.wait(PhoneRegistered, after=before)
        assert registered.aor.split("@")[0].removeprefix("sip:") == options.user
        it.do("unregister")
        it.wait("unregistered")
        assert site.wait(PhoneUnregistered, after=before).why == "removed"


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_password_registers_nothing(site: Site, tmp_path: Path, kind: str) -> None:
    before = site.last()
    with phone(kind, replace(agent_options(site, kind, tmp_path), password="wrong")) as it:
        if kind == "pjsua":
            it.do("register")
            it.wait("register_failed")
        else:
            with pytest.raises(PeerError):
                it.do("register")
    assert not [r for r in site.events(before) if isinstance(r.event, PhoneRegistered)]


@pytest.mark.parametrize("kind", ["baresip", "pjsua"] if FULL else ["baresip"])
def test_agent_logs_in_and_is_ready_by_feature_codes(site: Site, tmp_path: Path, kind: str) -> None:
    """*11, *13, *14 1, *12 from the agent's own phone, each with a word of confirmation and a hang-up from us."""
    before, name = site.last(), AgentName(kind)
    with phone(kind, agent_options(site, kind, tmp_path)) as it:
        it.do("register")
        it.wait("registered")
        for code, state in (
            ("*11", AgentState.NOT_READY),
            ("*13", AgentState.READY),
            ("*141", AgentState.NOT_READY),
            ("*12", AgentState.LOGGED_OUT),
        ):
            it.do("call", to=code)
            it.wait("established")
            assert it.wait("closed")["by"] == "there"
            changed = site.wait(AgentStateChanged, after=before, agent=name, state=state)
            assert changed.via == "phone"
            before = site.last()
        it.do("unregister")
