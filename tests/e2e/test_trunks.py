"""A real hotline with an operator: registration, outage, failover, and an agent at an ordinary telephone."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallConnected,
    CallReleased,
    LegDialled,
    OfferMissed,
    OfferResult,
    RecordingStopped,
    TrunkDown,
    TrunkRegistered,
    TrunkStarted,
    TrunkUnregistered,
    TrunkUp,
)
from kernel.ids import AgentName
from tests.support.peers.remote import Options, free_ports, phone
from tests.support.site import Edit, Site, serving
from tests.support.tones import dominant, read_wav
from tests.support.udp_operator import operating

FLOW = "start: wait\nnodes:\n  wait: {enqueue: billing, otherwise: hangup}\n"
AGENT = AgentName("zhao.lei")
TELEPHONE_HZ, CALLER_HZ = 700.0, 1100.0


def flows(folder: Path) -> None:
    (folder / "ivr_flows").mkdir(parents=True)
    (folder / "ivr_flows" / "main.yaml").write_text(FLOW)


def remote_agent(outbound: dict[str, Any], ring_for: float = 15) -> Edit:
    """One agent, at a telephone."""

    def edit(config: dict[str, Any]) -> None:
        config["callwright"]["country"] = "CN"
        agent = {"display": "Zhao Lei", "phone": "139 1234 5678", "trunks": "carrier", "skills": {"billing": 5}}
        config["agents"]["agents"] = {str(AGENT): agent}
        config["trunks"]["trunks"]["carrier"] = {"outbound": outbound}
        billing = config["queues"]["queues"]["billing"]
        billing |= {"skills": {"billing": 1}, "ring_for": ring_for, "wrap_up": 0, "announce": {"first": None}}
        config["queues"]["queues"] = {"billing": billing}
        config["skills"]["skills"] = {"billing": "Billing"}
        billing.pop("overflow", None)

    return edit


def ready(site: Site) -> None:
    site.wait(TrunkStarted, trunk="carrier")  # its targets' names have been looked up
    site.agent(AGENT, "ready")
    site.wait(AgentStateChanged, agent=AGENT, state=AgentState.READY)


def options(site: Site | None, folder: Path, name: str, hz: float) -> Options:
    sip, rtp = free_ports(2)
    return Options(
        user=name,
        registrar=site.registrar if site else "127.0.0.1:9",
        sip_port=sip,
        rtp_port=rtp,
        tone_hz=hz,
        capture=str(folder / f"{name}.wav"),
        auto_answer=site is None,
    )


def rows(site: Site, kind: str, within: float = 10.0) -> list[tuple[Any, ...]]:
    """Incidents of a kind that are over, once the ledger has written them."""
    until = time.monotonic() + within
    found: list[tuple[Any, ...]] = []
    while not found and time.monotonic() < until:
        time.sleep(0.2)
        with sqlite3.connect(site.folder / "var" / "callwright.db") as database:
            query = "SELECT subject, what, lasted FROM incidents WHERE kind = ? AND ended_at IS NOT NULL"
            found = database.execute(query, (kind,)).fetchall()
    return found


def test_a_telephone_behind_the_third_target_answers_a_queued_call_and_is_recorded(tmp_path: Path) -> None:
    """The first target refuses connections, the next is silent: the call reaches the third within 4 s. Caller and
    telephone are foreign stacks."""
    telephone = options(None, tmp_path, "telephone", TELEPHONE_HZ)
    with operating() as (silent, port), phone("pjsua", telephone) as ringing:
        silent.deaf = True
        outbound = {
            "targets": [
                f"tcp:127.0.0.1:{free_ports(1)[0]}",
                {"host": "127.0.0.1", "port": port, "priority": 1},
                {"host": "localhost", "port": telephone.sip_port, "priority": 2},
            ],
            "domain": "op.example",
            "number": "+864001001001",
            "health": {"every": 0},
            "called": [{"prefix": "+86", "strip": 3, "prepend": "0"}],
        }
        with serving(remote_agent(outbound), prepare=flows) as site:
            ready(site)
            with phone("baresip", options(site, tmp_path, "13800000001", CALLER_HZ)) as caller:
                caller.do("call", to="1001")
                site.wait(CallConnected, agent=AGENT, timeout=20)
                ringing.wait("established")
                time.sleep(2.0)  # real audio takes real time
                caller.do("hangup")
                site.wait(CallReleased, agent=AGENT)
            stopped = site.wait(RecordingStopped)
            dialled = [(record.at, record.event) for record in site.events() if isinstance(record.event, LegDialled)]
            rate, samples = read_wav(site.recordings / stopped.path)
            assert dominant(samples[rate // 2 :, 0], rate=rate) == pytest.approx(CALLER_HZ, abs=20)
            assert dominant(samples[rate // 2 :, 1], rate=rate) == pytest.approx(TELEPHONE_HZ, abs=20)
            (first, dead), (_, one), (second, other) = dialled
            assert second - first < 4.0
            assert dead.target.endswith(";transport=tcp")
            assert one.target == f"sip:013912345678@127.0.0.1:{port}"
            assert other.target == f"sip:013912345678@localhost:{telephone.sip_port}"
            assert other.trunk == "carrier"


def test_an_outage_is_an_incident_with_a_duration_and_agents_follow_it(tmp_path: Path) -> None:
    with operating() as (operator, port):
        operator.account = ("gw", "secret", "op.example")
        operator.granted = 6
        outbound = {
            "targets": f"127.0.0.1:{port}",
            "domain": "op.example",
            "user": "gw",
            "password": "secret",
            "registration": {"expires": 60},
            "health": {"every": 1, "failures": 1},
        }
        with serving(remote_agent(outbound), prepare=flows) as site:
            told = site.wait(TrunkRegistered, trunk="carrier")
            assert told.expires == 6
            ready(site)
            until = time.monotonic() + 15
            while len(operator.of("REGISTER")) < 4 and time.monotonic() < until:
                time.sleep(0.2)
            assert len(operator.of("REGISTER")) >= 4, "refreshed, with proof each time"
            before = site.last()
            operator.deaf = True
            site.wait(TrunkDown, trunk="carrier", after=before)
            site.wait(AgentStateChanged, after=before, agent=AGENT, reason="unreachable")
            operator.deaf = False
            up = site.wait(TrunkUp, trunk="carrier", after=before)
            site.wait(AgentStateChanged, after=before, agent=AGENT, state=AgentState.READY)
            ((subject, what, lasted),) = rows(site, "trunk_down")
            assert (subject, lasted) == ("carrier", pytest.approx(up.down_for, abs=0.2))
            assert what == "no target is up: no answer to OPTIONS"
            last = site.last()
            operator.refuse_with = 486
            with phone("baresip", options(site, tmp_path, "13800000001", CALLER_HZ)) as caller:
                caller.do("call", to="1001")
                missed = site.wait(OfferMissed, after=last)
                assert (missed.agent, missed.result) == (AGENT, OfferResult.BUSY)
                caller.do("hangup")
            site.stop()
            assert any(isinstance(record.event, TrunkUnregistered) for record in site.events())
            assert list(operator.bindings.values()) == [0]
