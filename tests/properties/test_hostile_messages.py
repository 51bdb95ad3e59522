"""Whatever octets arrive, the user agent answers or drops: never an exception, never something left behind."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.session import LiveCall
from engine.sip.message import Request
from tests.support.softphone import sdp
from tests.unit.engine.world import World, play

SEEDS = [
    f"{method} sip:{number}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx;rport\r\n"
    "Max-Forwards: 70\r\nRecord-Route: <sip:192.0.2.9;lr>\r\nFrom: A <sip:a@192.0.2.9>;tag=f\r\n"
    f"To: <sip:1001@192.0.2.1>{tag}\r\nCall-ID: c@x\r\nCSeq: 1 {method}\r\nContact: <sip:a@192.0.2.9:5060>\r\n"
    "Privacy: none\r\nP-Asserted-Identity: <tel:+861012345678>\r\nExpires: 60\r\n"
    "Content-Type: application/sdp\r\n\r\n".encode()
    + sdp("192.0.2.9", 4000)
    for method in ("INVITE", "BYE", "CANCEL", "ACK", "REGISTER", "OPTIONS", "INFO", "PUBLISH")
    for number in ("1001", "*11")
    for tag in ("", ";tag=1")
]
PIECES = [
    b"",
    b";",
    b",",
    b"<",
    b">",
    b'"',
    b"@",
    b":",
    b"0",
    b"\r\n ",
    b"%",
    b"sip:",
    b"tel:",
    b"\xff",
    b"99999999999",
]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(PIECES)), min_size=1, max_size=4)


async def _answer(call: LiveCall) -> None:
    await call.answer()
    await call.play(["a.wav"])


def _edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + cut :]
    return data


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), edits=EDITS)
def test_any_message_is_answered_or_dropped(seed: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    async def story() -> None:
        world = World(n1001=_answer)
        phone = world.phone("a", 9)
        for data in (_edited(seed, edits), seed, _edited(seed, edits[:1])):
            world.ua.receive(data, phone.flow)
            await asyncio.sleep(0.1)
        await world.settle(150)

    play(story)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits=EDITS, which=st.sampled_from(["INVITE", "INFO", "BYE", "200"]))
def test_any_message_in_a_call_is_answered_or_dropped(edits: list[tuple[float, int, bytes]], which: str) -> None:
    """Whatever a peer makes of its messages, from its re-INVITE to the answer to our BYE."""

    async def story() -> None:
        world = World(n1001=_answer)
        phone = world.phone("a", 9)
        phone.call("1001")
        await asyncio.sleep(1)
        send = phone._send

        def spoil(data: bytes, flow: object) -> None:
            hit = data.startswith(which.encode()) or data.startswith(f"SIP/2.0 {which}".encode())
            send(_edited(data, edits) if hit else data, phone.flow)

        phone._send = spoil
        phone.again("sendonly")
        phone.info("5")
        await asyncio.sleep(0.5)
        assert all(isinstance(m, Request) or m.status < 600 for m in phone.heard)
        if which == "BYE":
            phone.send("BYE")
        await world.settle(200)

    play(story)
