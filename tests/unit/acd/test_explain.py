"""Why this agent: asked of the log, answered by the router's rules."""

import asyncio

import pytest

from acd.history import NoSuchOffer, explain_offer
from acd.routing.explain import Standing, Verdict, explain
from acd.routing.model import AgentProfile, Waiting
from events.types import AgentState, CallOffered, Recorded
from kernel.ids import AgentName, CallId, OfferId, QueueName
from tests.support.virtual import run
from tests.unit.acd.world import World, agent, queue


def test_every_agent_gets_one_verdict() -> None:
    site = [
        Standing(profile=agent("ann", en=5), state=AgentState.READY, since=90.0),
        Standing(profile=agent("bob", en=5), state=AgentState.READY, since=40.0),
        Standing(profile=agent("cat", en=2), state=AgentState.READY, since=10.0),
        Standing(profile=agent("dan", en=9), state=AgentState.NOT_READY, reason="lunch", since=0.0),
        Standing(
            profile=AgentProfile(name=AgentName("eve"), aor="e", queues=frozenset({QueueName("x")})),
            state=AgentState.READY,
            since=0.0,
        ),
    ]
    call = Waiting(call=CallId("c1"), queue=QueueName("q"), skills={"en": 3}, queued_at=95.0)
    assert [
        f"{one.agent}: {one.verdict.value}, {one.words}"
        for one in explain(call, site, {QueueName("q"): queue()}, 100.0)
    ] == [
        "bob: chosen, number 1 by longest_idle: skills en 5; idle 60.0 s",
        "ann: outranked, number 2 by longest_idle: skills en 5; idle 10.0 s",
        "dan: not_free, not_ready (lunch) for 100.0 s",
        "cat: lacks_skill, en 2 of 3",
        "eve: other_queues, does not serve q",
    ]


def test_the_log_explains_every_offer_that_was_made() -> None:
    """Also where a caller had hung up while it rang, so that idle time was kept."""

    async def main() -> None:
        agents = [agent("ann", x=1), agent("bob", x=2), agent("cat")]
        world = World([queue(skills={"x": 1}, wrap_up=3.0)], agents)
        for name in agents:
            world.phones[name.aor].talks = 7.0
        world.call("c0")
        await asyncio.sleep(1.0)
        await world.end()
        for number in range(1, 8):
            world.call(f"c{number}")
            await asyncio.sleep(4.0)
        await asyncio.sleep(100.0)
        log = [Recorded(seq, at, event) for seq, (at, event) in enumerate(world.log, 1)]
        offers = [event for event in world.of(CallOffered) if isinstance(event, CallOffered)]
        assert len(offers) == 8
        for offer in offers:
            why = explain_offer(log, offer.offer, {one.name: one for one in agents}, world.acd.router.queues)
            assert (why[0].agent, why[0].verdict) == (offer.agent, Verdict.CHOSEN)
        with pytest.raises(NoSuchOffer):
            explain_offer(log, OfferId("none"), {}, {})

    run(main())
