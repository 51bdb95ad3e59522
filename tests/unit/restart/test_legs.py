"""Control dies while a leg is in any phase: trunk, ringing, 100rel, BYE or re-INVITE in flight, session timer, SRTP."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from acd.routing.model import AgentProfile
from engine.media.plane import SrtpSuite
from engine.sdp.crypto import SrtpPolicy
from engine.sip.message import Request, Response
from engine.trunks.breaker import Health
from engine.trunks.credentials import Credentials
from engine.trunks.identity import Identity
from engine.trunks.model import Outbound, Trunk
from engine.trunks.targets import Target
from events.types import (
    CallArrived,
    CallConnected,
    CallEnded,
    CallOutcome,
    OfferMissed,
    OfferWithdrawn,
)
from kernel.ids import AgentName
from tests.support.operator import Operator
from tests.support.softphone import Softphone, sdp
from tests.unit.engine.world import SETTINGS, play
from tests.unit.ivr.flows import flow
from tests.unit.restart.test_restart import QUEUE, queued
from tests.unit.restart.world import RestartWorld, at

TRUNK = Trunk(
    name="op",
    networks=(ip_network("192.0.2.48/28"),),
    max_calls=2,
    outbound=Outbound(
        targets=(Target("192.0.2.50"),),
        identity=Identity(domain="op.example", number="+864001001001"),
        health=Health(every=0),
        credentials=Credentials("u", "p", "op.example"),
    ),
)
TELEPHONE = AgentProfile(name=AgentName("agent1"), aor="", phone="+8613912345678", trunks=("op",))
EARLY = "{start: hello, nodes: {hello: {play: hello, early: true, next: up}, up: {answer: , next: queue}, \
queue: {enqueue: billing, otherwise: hangup}}}"
CRYPTO = f"a=crypto:1 {SrtpSuite.AES_CM_128_HMAC_SHA1_80} inline:{base64.b64encode(bytes(range(30))).decode()}\r\n"
SECURE = replace(SETTINGS, line=replace(SETTINGS.line, srtp=SrtpPolicy.REQUIRED))


def by_telephone() -> tuple[RestartWorld, Softphone, Operator]:
    """A queue whose only agent sits at a telephone."""
    world = RestartWorld(flow(QUEUE), agents=[TELEPHONE], trunks=[TRUNK])
    operator = Operator("op", world.phone("x", 50).flow, world._from_phone)
    world.phones[operator.flow] = operator
    world.pool.start(world.ua.line, {})
    assert world.acd.agent_command("agent1", "ready").ok
    return world, world.phone("caller", 10), operator


def secured(last: int) -> bytes:
    return sdp(f"192.0.2.{last}", 4000).replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO.encode()


def no_key_is_saved(world: RestartWorld) -> None:
    assert not [key for key, state in world.saved.items() if b"inline:" in state or b"crypto:" in state]


def test_a_telephone_that_rings_goes_on_ringing() -> None:
    async def story() -> None:
        world, caller, operator = by_telephone()
        operator.answer_after = 3.0
        caller.call("1001")
        await asyncio.sleep(1.5)
        await world.restart()
        assert world.limits["op"].calls == 1
        await asyncio.sleep(4.0)
        assert operator.log.count("rings") == 1, operator.log
        (connected,) = world.of(CallConnected)
        assert abs(connected.rang - 3.0) < 0.2
        assert world.limits["op"].calls == 1
        await world.restart()
        assert world.limits["op"].calls == 1
        caller.hang_up()
        await world.settle()
        assert not world.of(OfferMissed)
        assert not world.of(OfferWithdrawn)

    play(story)


def test_a_telephone_that_nobody_answers_frees_its_channel() -> None:
    async def story() -> None:
        world, caller, operator = by_telephone()
        operator.answer_after = None
        caller.call("1001")
        await asyncio.sleep(3.0)
        await world.restart()
        await asyncio.sleep(10.0)
        assert operator.log == ["rings", "cancelled"]
        assert world.limits["op"].calls == 0
        caller.hang_up()
        await world.settle()
        (missed,) = world.of(OfferMissed)
        assert abs(missed.rang - 10.0) < 0.3

    play(story)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bye_that_the_trunk_challenges_is_proved(when: str) -> None:
    async def story() -> None:
        world, caller, operator = by_telephone()
        caller.call("1001")
        await asyncio.sleep(5.0)
        operator.account = ("u", "p", "op.example")
        if when == "before":
            operator.deaf = True
            caller.hang_up()
            await asyncio.sleep(0.1)
        await world.restart()
        operator.deaf = False
        caller.hang_up()
        await asyncio.sleep(5.0)
        assert operator.log[-1] == "bye", operator.log
        await world.settle()

    play(story)


def test_a_bye_that_a_trunks_caller_challenges_is_proved() -> None:
    async def story() -> None:
        world, _, operator = by_telephone()
        operator.call("1001")
        await asyncio.sleep(2.0)
        await world.restart()
        operator.account = ("u", "p", "op.example")
        world.call.leg.hangup("test")
        await world.settle()
        assert operator.log[-1] == "bye", operator.log

    play(story)


@pytest.mark.parametrize("reliable", ["", "100rel"])
@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_caller_who_hears_early_media_is_answered_after_it(reliable: str, acknowledged: bool) -> None:
    async def story() -> None:
        world = RestartWorld(flow(EARLY))
        caller = world.phone("caller", 10)
        caller.pracks = acknowledged
        caller.call("1001", Supported=reliable or "timer")
        await asyncio.sleep(1.0)
        assert caller.log[-1] == "183"
        caller.pracks = True
        await world.restart()
        await asyncio.sleep(5.0)
        assert caller.statuses == [200], caller.log
        caller.hang_up()
        await world.settle()
        assert world.of(CallEnded)[0].outcome is CallOutcome.ABANDONED_QUEUE

    play(story)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_reliable_180_keeps_its_number(acknowledged: bool) -> None:
    """RFC 3262 §4: a peer acknowledges no response but the one after the last that it has heard."""

    async def story() -> None:
        world = RestartWorld(flow(QUEUE))
        caller, agent = world.phone("caller", 10), world.agent("agent", 20)
        world.desks[caller.flow] = "8002"
        agent.answer_after, agent.ringing = 6.0, True
        caller.pracks = acknowledged
        caller.call("8001", Require="100rel")
        await asyncio.sleep(1.0)
        caller.pracks = True
        await world.restart()
        await asyncio.sleep(1.0)
        said = [m.headers.get("RSeq") for m in caller.heard if isinstance(m, Response) and m.status == 180]
        assert len(set(said)) == 1, said
        await asyncio.sleep(8.0)
        assert caller.statuses == [200]
        caller.hang_up()
        await world.settle()

    play(story)


@pytest.mark.parametrize("when", [0.9, 1.3, 2.0])
def test_a_caller_who_gives_up_before_the_answer(when: float) -> None:
    async def story() -> None:
        world = RestartWorld(flow(EARLY))
        caller = world.phone("caller", 10)
        caller.call("1001", Supported="100rel")
        at(when, caller.hang_up)
        await asyncio.sleep(1.0)
        await world.restart()
        await world.settle()
        assert caller.statuses == [487]
        assert world.of(CallEnded)[0].outcome is CallOutcome.CANCELLED

    play(story)


def test_a_retransmitted_invite_makes_no_second_call() -> None:
    async def story() -> None:
        world = RestartWorld(flow(EARLY))
        caller = world.phone("caller", 10)
        sent: list[bytes] = []

        def note(data: bytes) -> bool:
            sent.append(data)
            return False

        world.lose = note
        caller.call("1001")
        await asyncio.sleep(1.0)
        await world.restart()
        invite = next(data for data in sent if data.startswith(b"INVITE"))
        for _ in range(3):
            world._arrive(invite, caller.flow)
            await asyncio.sleep(1.5)
        assert len(world.of(CallArrived)) == 1
        assert caller.statuses == [200]
        world._arrive(invite, caller.flow)
        caller.hang_up()
        await world.settle()
        assert len(world.of(CallArrived)) == 1

    play(story)


def test_a_caller_whose_connection_died_with_control() -> None:
    async def story() -> None:
        world = RestartWorld(flow(EARLY))
        ringing, talking = world.phone("ringing", 10, "tcp"), world.phone("talking", 11, "tcp")
        talking.call("1001")
        await asyncio.sleep(4.0)
        ringing.call("1001")
        await asyncio.sleep(0.5)
        world.kill()
        world.unreachable |= {ringing.flow, talking.flow}
        await world.start_again(0.5)
        await asyncio.sleep(3.0)
        for call in list(world.ua.calls.values()):
            call.leg.hangup("test")
        await world.settle()

    play(story, errors=False)


def test_a_bye_in_flight_is_repeated_until_it_is_answered() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(5.0)
        agent.deaf = True
        caller.hang_up()
        await asyncio.sleep(0.2)
        await world.restart()
        await asyncio.sleep(6.0)
        agent.deaf = False
        await asyncio.sleep(5.0)
        assert agent.log[-1] == "bye"
        assert len(world.of(CallEnded)) == 1
        await world.settle()

    play(story)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_refresh_in_flight_is_acknowledged(deaf: bool) -> None:
    async def story() -> None:
        world, (caller,) = queued()
        caller.call("1001", Supported="timer", Session_Expires="200;refresher=uas", Allow="INVITE, ACK, BYE")
        await asyncio.sleep(99.0)
        caller.deaf = deaf
        caller.extra = {"Session-Expires": "200;refresher=uac"}
        caller.answer_after = 1.5
        await asyncio.sleep(1.05)
        assert caller.requests[-1] == "INVITE"
        await world.restart()
        caller.deaf = False
        await asyncio.sleep(5.0)
        assert caller.usage.may_invite, "it has our ACK"
        assert caller.requests.count("BYE") == 0
        await asyncio.sleep(100.0)
        assert len({str(m.cseq) for m in caller.heard if isinstance(m, Request) and m.method == "INVITE"}) == 2
        caller.hang_up()
        await world.settle()

    play(story)


def test_the_session_timer_of_a_dead_peer_goes_on() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        caller.call("1001", Supported="timer", Session_Expires="200;refresher=uac")
        await asyncio.sleep(100.0)
        await world.restart()
        await asyncio.sleep(66.0)
        assert caller.log[-1] != "bye"
        await asyncio.sleep(3.0)
        assert caller.log[-1] == "bye"
        await world.settle()
        assert world.of(CallEnded)[0].reason == "session_expired"

    play(story)


async def talk_in_secret(
    answer_after: float, then: Callable[[RestartWorld, Softphone, Softphone], Awaitable[None]]
) -> None:
    world = RestartWorld(flow(QUEUE), settings=SECURE)
    caller, agent = world.phone("caller", 10), world.agent("agent", 20)
    agent.body = secured(20).replace(b"crypto:1 ", b"crypto:2 ")
    agent.answer_after = answer_after
    world.ready("agent1")
    caller.call("1001", secured(10))
    await asyncio.sleep(1.5)
    no_key_is_saved(world)
    await then(world, caller, agent)
    no_key_is_saved(world)
    caller.hang_up()
    await world.settle()
    assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED


def keys_agree(world: RestartWorld, *phones: Softphone) -> None:
    """What the plane encrypts with is what the phone was told last."""
    for phone in phones:
        port = world.plane.at(phone.remote_rtp)
        assert port is not None
        remote = world.plane.ports[port].remote
        assert remote is not None
        assert remote.srtp is not None
        told = [m.body for m in phone.heard if b"a=crypto:" in m.body][-1]
        assert base64.b64encode(remote.srtp.local_key) in told, phone.name
        assert remote.srtp.remote_key == bytes(range(30))


def test_encrypted_calls_go_on_and_change_their_keys() -> None:
    async def then(world: RestartWorld, caller: Softphone, agent: Softphone) -> None:
        before = {port: found.remote for port, found in world.plane.ports.items()}
        await world.restart()
        assert {port: found.remote for port, found in world.plane.ports.items()} == before
        keys_agree(world, caller, agent)
        caller.again("sendrecv", secured(10))
        await asyncio.sleep(1.0)
        keys_agree(world, caller, agent)
        leg = world.call.partner
        assert leg is not None
        leg.session.refresh()
        await asyncio.sleep(3.0)
        assert agent.requests.count("INVITE") == 2
        keys_agree(world, caller, agent)

    async def story() -> None:
        await talk_in_secret(0.5, then)

    play(story)


def test_an_encrypted_phone_that_rings_gets_keys_once_it_has_answered() -> None:
    async def then(world: RestartWorld, caller: Softphone, agent: Softphone) -> None:
        await world.restart()
        await asyncio.sleep(4.0)
        assert agent.log.count("answers") >= 1
        assert len(world.of(CallConnected)) == 1
        keys_agree(world, caller, agent)

    async def story() -> None:
        await talk_in_secret(2.5, then)

    play(story)


def test_an_encrypted_caller_without_answer_is_refused() -> None:
    async def story() -> None:
        world = RestartWorld(flow(EARLY), settings=SECURE)
        caller = world.phone("caller", 10)
        caller.call("1001", secured(10))
        await asyncio.sleep(1.0)
        no_key_is_saved(world)
        await world.restart()
        await world.settle()
        assert caller.statuses == [503]
        (end,) = world.of(CallEnded)
        assert (end.outcome, end.sip_status) == (CallOutcome.FAILED, 503)

    play(story)
