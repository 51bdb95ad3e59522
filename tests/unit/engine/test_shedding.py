"""New calls while there is too much to do: refused at a glance, and nobody else is."""

import asyncio

from engine.overload import Load
from engine.session import LiveCall
from engine.sip.flow import Flow
from events.types import CallArrived, CallsShed, SipReported
from tests.support.softphone import sdp
from tests.unit.engine.world import OURS, World, play

TRUNK = Flow("udp", OURS, ("192.0.2.99", 5060))


async def wait(call: LiveCall) -> None:
    await call.answer()
    await asyncio.sleep(3600)


def overload(world: World, *, lag: float = 9.0) -> None:
    """Shedding, and no token is left."""
    for _ in range(5):
        world.overload.sample(Load(1.0, lag, 0.0, 0.0, 0.0), world.now())
    while world.overload.admit(f"z9hG4bK-token{world.now()}", "", world.now()):
        pass


def invite(n: int, *more: str, to: str = "<sip:1001@example.net>") -> bytes:
    lines = [
        "INVITE sip:1001@example.net SIP/2.0",
        f"Via: SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKx{n}",
        "Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKy",
        f"From: <sip:alice@192.0.2.99>;tag={n}",
        f"To: {to}",
        f"Call-ID: {n}@alice",
        "CSeq: 7 INVITE",
        "Contact: <sip:alice@192.0.2.99>",
        *more,
        "Content-Type: application/sdp",
    ]
    return "\r\n".join([*lines, "", sdp("192.0.2.99", 4000).decode()]).encode()


def ack(n: int) -> bytes:
    return invite(n, to="<sip:1001@example.net>;tag=z").replace(b"INVITE", b"ACK")


def sent_by(world: World) -> list[bytes]:
    sent: list[bytes] = []

    def send(_: Flow, data: bytes) -> bool:
        sent.append(data)
        return True

    world.ua._send = world.ua.entrance._at_once = send
    return sent


def test_a_call_too_many_hears_503_at_once_and_always_the_same() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        sent = sent_by(world)
        overload(world)
        for _ in range(2):
            world.ua.receive(invite(1), TRUNK)
        world.ua.receive(ack(1), TRUNK)
        assert len(sent) == 2, "no turn of the loop is waited for"
        assert sent[0] == sent[1]
        head = sent[0].decode().split("\r\n")
        assert head[0] == "SIP/2.0 503 Service Unavailable"
        assert head[1].startswith("Via: SIP/2.0/UDP 10.0.0.1:5070;")
        assert {"rport=5060", "received=192.0.2.99"} <= set(head[1].split(";"))
        assert head[2] == "Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKy"
        assert head[3] == "From: <sip:alice@192.0.2.99>;tag=1"
        assert head[4].startswith("To: <sip:1001@example.net>;tag=")
        assert head[5:7] == ["Call-ID: 1@alice", "CSeq: 7 INVITE"]
        assert head[7].startswith("Retry-After: ")
        assert head[-3:] == ["Content-Length: 0", "", ""]
        assert world.noted == [], "refusals do not wash the trace away"
        assert not world.of(CallArrived)
        world.overload.sample(Load(0, 0, 0, 0, 0), world.now() + 2)
        assert sum(event.count for event in world.of(CallsShed)) >= 1
        world.ua.report()
        (report,) = world.of(SipReported)
        assert (report.requests, report.responses_sent) == ({"INVITE": 2}, {"INVITE 503": 2})

    play(story)


def test_what_is_written_unusually_is_refused_all_the_same() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        sent = sent_by(world)
        overload(world)
        world.ua.receive(invite(1, "Subject: a", " b"), TRUNK)
        world.ua.receive(invite(2).replace(b"Call-ID", b"CALL-id"), TRUNK)
        await asyncio.sleep(0.1)
        assert [data[:11] for data in sent] == [b"SIP/2.0 503"] * 2
        assert not world.of(CallArrived)

    play(story)


def test_a_call_in_progress_is_not_refused() -> None:
    """Its INVITE again, its ACK, its re-INVITE and its BYE pass."""

    async def story() -> None:
        world = World(n1001=wait)
        caller = world.caller()
        await asyncio.sleep(0.5)
        (first,) = (data for data in world.noted if data.startswith(b"INVITE"))
        overload(world)
        seen = len(world.noted)
        world.ua.receive(first, caller.flow)
        caller.again("sendonly")
        await asyncio.sleep(0.1)
        await world.over(caller)
        assert {data[:3] for data in world.noted[seen:]} == {b"INV", b"SIP", b"ACK", b"BYE"}
        assert not any(data.startswith(b"SIP/2.0 503") for data in world.noted)

    play(story)


def test_a_stranger_is_asked_for_his_password_as_ever() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        sent = sent_by(world)
        overload(world)
        world.ua.receive(invite(1), Flow("udp", OURS, ("203.0.113.9", 5060)))
        await asyncio.sleep(0.1)
        assert [data[:11] for data in sent] == [b"SIP/2.0 401"]

    play(story)


def test_a_burst_read_at_once_shares_the_places_that_there_are() -> None:
    """What is let in waits for its turn; those behind it in the same burst hear of that at a glance, not parsed."""

    async def story() -> None:
        world = World(n1001=wait)
        sent = sent_by(world)
        overload(world)
        await asyncio.sleep(1.5 / world.overload.rate)
        for n in range(5):
            world.ua.receive(invite(n), TRUNK)
        assert [data[:11] for data in sent] == [b"SIP/2.0 503"] * 4
        await asyncio.sleep(0.1)
        assert len(world.of(CallArrived)) == 1
        assert sum(data.startswith(b"SIP/2.0 503") for data in sent) == 4

    play(story)


def test_calls_that_wait_when_it_begins_are_refused_at_a_glance() -> None:
    async def story() -> None:
        world = World(n1001=wait)
        sent = sent_by(world)
        for n in range(5):
            world.ua.receive(invite(n), TRUNK)
        assert sent == []
        overload(world)
        await asyncio.sleep(0)
        assert [data[:11] for data in sent] == [b"SIP/2.0 503"] * 5
        assert world.noted == [], "not parsed"

    play(story)
