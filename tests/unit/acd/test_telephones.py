"""Agents at ordinary telephones: reachable while a trunk is up, with or without a softphone beside it."""

import asyncio
from dataclasses import replace

from acd.roster import TELEPHONE_PAUSE
from acd.routing.model import AgentProfile
from engine.call import DialOutcome
from events.types import CallOffered
from tests.support.virtual import run
from tests.unit.acd.world import World, agent, check_balance, queue

NUMBER = "+8613912345678"


def telephone(name: str = "ann", aor: str = "") -> AgentProfile:
    return replace(agent(name), aor=aor, phone=NUMBER, trunks=("op", "backup"))


def hotline(profile: AgentProfile) -> World:
    return World([queue(wait_unstaffed=True)], [profile], ready=False)


def test_reachable_is_who_has_a_trunk_that_is_up() -> None:
    async def main() -> None:
        world = hotline(telephone())
        refused = world.acd.agent_command("ann", "ready")
        assert refused.text == f"telephone {NUMBER} cannot be reached: no trunk to it is up"
        world.acd.trunk_changed("op", True)
        world.acd.trunk_changed("other", True)
        assert world.acd.agent_command("ann", "ready").ok
        world.acd.trunk_changed("backup", True)
        world.acd.trunk_changed("op", False)
        assert world.state("ann") == "ready", "the other trunk is up"
        world.acd.trunk_changed("backup", False)
        assert world.state("ann") == "not_ready"
        world.acd.trunk_changed("backup", True)
        assert world.state("ann") == "ready"

    run(main())


def test_the_order_names_the_telephone_and_its_trunks() -> None:
    async def main() -> None:
        world = hotline(telephone(aor="8001"))
        world.acd.trunk_changed("op", True)
        assert world.acd.agent_command("ann", "ready").ok
        call = world.call("c1")
        orders = []
        dial = call.dial

        async def noting(order: object) -> object:
            orders.append(order)
            return await dial(order)  # type: ignore[arg-type]

        call.dial = noting  # type: ignore[assignment, method-assign]
        await asyncio.sleep(10.0)
        (order,) = orders
        assert (order.aor, order.number, order.trunks) == ("8001", NUMBER, ("op", "backup"))  # type: ignore[attr-defined]
        await world.end()
        check_balance(world.log)

    run(main())


def test_a_telephone_that_was_not_reached_is_tried_again() -> None:
    """Nothing will ever register to say that it is back."""

    async def main() -> None:
        world = hotline(telephone())
        world.phones[""].outcome = DialOutcome.UNREACHABLE
        world.acd.trunk_changed("op", True)
        assert world.acd.agent_command("ann", "ready").ok
        world.call("c1")
        await asyncio.sleep(TELEPHONE_PAUSE - 1)
        assert len(world.of(CallOffered)) == 1
        await asyncio.sleep(2)
        assert len(world.of(CallOffered)) == 2
        await world.end()
        check_balance(world.log)

    run(main())


def test_a_softphone_that_goes_leaves_the_telephone() -> None:
    async def main() -> None:
        world = hotline(telephone(aor="8001"))
        world.acd.trunk_changed("op", True)
        world.acd.phone_registered("8001")
        assert world.acd.agent_command("ann", "ready").ok
        world.acd.phone_unregistered("8001")
        assert world.state("ann") == "ready"
        world.acd.trunk_changed("op", False)
        assert world.state("ann") == "not_ready"
        world.acd.phone_registered("8001")
        assert world.state("ann") == "ready"

    run(main())
