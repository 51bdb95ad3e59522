"""Floods: agents and trunks go on, memory stays where it was."""

import threading
import time

from bench.measure import usage
from events.types import CallEnded, SipReported, SourceBlocked
from tests.attack.conftest import AGENTS
from tests.support.attacker import DOMAIN, attacker, flood
from tests.support.site import Site

SECONDS = 6.0
SOURCES = [f"127.0.2.{n}" for n in range(1, 51)]


def test_invite_flood_leaves_agents_and_trunk_in_peace(hotline: Site) -> None:
    """2 000 INVITEs a second from 50 addresses; the whole 30 s are `python -m bench.attack`."""
    before, memory = hotline.last(), usage(hotline.process.pid).pss_kb["app.control"]
    with attacker(hotline.udp, "127.0.0.61") as phone, attacker(hotline.udp, "127.0.0.1") as trunk:
        assert phone.register("8001", AGENTS["8001"]) == [401, 200]
        attack = threading.Thread(target=flood, args=[hotline.udp, SOURCES, 2000.0, SECONDS])
        attack.start()
        served = 0
        while attack.is_alive():
            assert phone.register("8001", AGENTS["8001"], within=2.0) == [401, 200]
            answer = trunk.ask(trunk.request("INVITE", f"sip:404@{DOMAIN}", user="139"), within=2.0)
            assert answer is not None
            assert answer.status == 404
            served += 1
            time.sleep(0.05)  # a phone, not another flood
        attack.join()
    assert served >= 10
    assert usage(hotline.process.pid).pss_kb["app.control"] - memory < 20_000
    blocked = {r.event.source for r in hotline.events(before) if isinstance(r.event, SourceBlocked)}
    assert blocked >= set(SOURCES[:40])
    report = hotline.wait(SipReported, after=before)
    assert report.dropped == sum(report.kept_out.values())
    assert not [r for r in hotline.events(before) if isinstance(r.event, CallEnded)]


def test_junk_flood_is_not_answered(hotline: Site) -> None:
    before = hotline.last()
    with attacker(hotline.udp, "127.0.0.62") as it:
        for n in range(500):
            it.send(bytes((n * k) & 255 for k in range(1, 200)))
        assert it.drain() == []
        assert hotline.wait(SourceBlocked, after=before, source="127.0.0.62").why == "junk"
