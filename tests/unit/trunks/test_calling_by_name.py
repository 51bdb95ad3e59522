"""Calls, OPTIONS and registration through a trunk that is only a name: DNS says where; what fails is passed over."""

import asyncio
from typing import Any

from engine.call import DialOutcome
from engine.trunks.breaker import Health
from engine.trunks.credentials import Credentials
from engine.trunks.dialling import FAILOVER_AFTER
from engine.trunks.location import Naptr, Question, Srv
from engine.trunks.registering import Registering
from engine.trunks.targets import Target
from events.types import TrunkDown, TrunkRegistered, TrunkTargetDown, TrunkTargetResolved, TrunkTargetUnresolved
from tests.unit.engine.world import play
from tests.unit.trunks.test_calling import Stage, trunk

NAMED = Target("op.example", 0, "")


def stage(**more: Any) -> Stage:
    """Two places: 192.0.2.50 before 192.0.2.51."""
    made = Stage(trunk(targets=(NAMED,), **more))
    made.world.hosts = {"op.example": [], "a.op.example": ["192.0.2.50"], "b.op.example": ["192.0.2.51"]}
    made.world.records = {
        Question("NAPTR", "op.example"): (Naptr(1, 1, "s", "SIP+D2U", "", "_sip._udp.op.example"),),
        Question("SRV", "_sip._udp.op.example"): (Srv(0, 1, 5060, "a.op.example"), Srv(1, 1, 5060, "b.op.example")),
    }
    return made


def test_a_call_goes_on_to_the_next_record_and_the_next_call_begins_there() -> None:
    """RFC 3263 §4.3. The target itself has not failed: one of its places answers."""

    async def story() -> None:
        scene = stage()
        first, second = scene.operator(50), scene.operator(51)
        first.deaf = True
        await scene.start()
        began = asyncio.get_running_loop().time()
        dialled = await scene.call(10)
        assert dialled.outcome is DialOutcome.ANSWERED
        assert scene.app.at[-1] - began < FAILOVER_AFTER + 2.0
        second.hang_up()
        await asyncio.sleep(5)
        assert (await scene.call(10)).outcome is DialOutcome.ANSWERED
        second.hang_up()
        await asyncio.sleep(1)
        assert [len({invite.call_id for invite in it.invites}) for it in (first, second)] == [1, 2]
        assert second.invites[0].uri == "sip:+8613912345678@op.example"
        assert not scene.world.of(TrunkTargetDown)
        (told,) = scene.world.of(TrunkTargetResolved)
        assert told.places == ["udp:192.0.2.50:5060", "udp:192.0.2.51:5060"]
        await scene.settle()

    play(story)


def test_a_place_that_failed_is_first_again_after_a_while() -> None:
    async def story() -> None:
        scene = stage()
        first, second = scene.operator(50), scene.operator(51)
        first.refuse_with = 503
        await scene.start()
        assert (await scene.call(10)).outcome is DialOutcome.ANSWERED
        second.hang_up()
        first.refuse_with = 0
        await asyncio.sleep(70)
        assert (await scene.call(10)).outcome is DialOutcome.ANSWERED
        first.hang_up()
        await scene.settle()
        assert (len(first.invites), len(second.invites)) == (2, 1)

    play(story)


def test_only_when_all_its_places_fail_has_a_target_failed() -> None:
    async def story() -> None:
        scene = stage(health=Health(every=0, failures=1))
        for last in (50, 51):
            scene.operator(last).refuse_with = 503
        await scene.start()
        assert (await scene.call(10)).outcome is DialOutcome.UNREACHABLE
        assert [event.why for event in scene.world.of(TrunkTargetDown)] == ["503 to INVITE"]
        assert scene.world.of(TrunkDown)
        await scene.settle()

    play(story)


def test_options_pass_over_a_silent_place() -> None:
    """Its silence counts once; the next OPTIONS goes to the other place, and the target stays up."""

    async def story() -> None:
        scene = stage(health=Health(every=30, failures=2))
        first, second = scene.operator(50), scene.operator(51)
        first.deaf = True
        await scene.start()
        await asyncio.sleep(50)
        assert first.of("OPTIONS")
        assert second.of("OPTIONS")
        assert not scene.world.of(TrunkTargetDown)
        await scene.settle()

    play(story)


def test_a_registration_moves_to_the_next_place_and_stays_there() -> None:
    async def story() -> None:
        credentials = Credentials("gw", "secret", "op.example")
        scene = stage(credentials=credentials, registering=Registering(60))
        first, second = scene.operator(50), scene.operator(51)
        first.deaf = True
        await scene.start()
        await asyncio.sleep(200)
        assert scene.world.of(TrunkRegistered)
        assert len({request.cseq.number for request in first.of("REGISTER")}) == 1
        assert len(second.of("REGISTER")) > 3
        await scene.settle()

    play(story)


def test_dns_away_is_told_and_calls_go_on() -> None:
    async def story() -> None:
        scene = stage()
        operator = scene.operator(50)
        await scene.start()
        hosts, scene.world.hosts = scene.world.hosts, {}
        records, scene.world.records = scene.world.records, {}
        await asyncio.sleep(100)
        (lost,) = scene.world.of(TrunkTargetUnresolved)
        assert (lost.trunk, lost.target) == ("op", "op.example")
        assert lost.kept == ["udp:192.0.2.50:5060", "udp:192.0.2.51:5060"]
        assert (await scene.call(10)).outcome is DialOutcome.ANSWERED
        operator.hang_up()
        scene.world.hosts, scene.world.records = hosts, records
        await asyncio.sleep(10)
        assert scene.world.of(TrunkTargetResolved)[-1].failed_for > 50
        await scene.settle()

    play(story)


def test_a_trunk_that_dns_never_knew_takes_no_call_but_others_do() -> None:
    async def story() -> None:
        scene = Stage(trunk("lost", targets=(Target("nowhere.example", 0, ""),)), trunk("op", 50))
        operator = scene.operator(50)
        await scene.start()
        assert (await scene.call(10)).outcome is DialOutcome.ANSWERED
        operator.hang_up()
        assert [event.kept for event in scene.world.of(TrunkTargetUnresolved)] == [[]]
        await scene.settle()

    play(story)
