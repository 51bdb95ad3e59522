"""The demo's phones: two of them over loopback, each the other's server; and their audio, packet by packet."""

import asyncio
import itertools
import random
import socket
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from app.demo.phone import Account, Phone, Refused
from app.demo.phone_call import PhoneCall
from app.demo.stream import FRAME, PRESS_FRAMES, Stream, Studio, Voice
from app.demo.voice import LOUD, RATE, murmur
from engine.media.plane import Codec, Direction, Remote
from engine.rtp import dtmf, g711, packet
from engine.rtp.packet import Packet

PATIENCE = 10.0


def real(scene: Coroutine[Any, Any, None]) -> None:
    """Under real time: sockets are real. Nothing here waits for time to pass, but for the other phone."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await scene

    asyncio.run(bounded())


class Pair:
    """caller and callee, who know each other's address only."""

    def __init__(self) -> None:
        self.studio = Studio()
        chance = random.Random(1)
        tone = Voice(np.full(FRAME * 4, 1000, np.int16))
        self.caller = Phone(Account("example.net", "alice"), ("127.0.0.1", 0), self.studio, chance)
        self.callee = Phone(Account("example.net", "bob"), ("127.0.0.1", 0), self.studio, chance)
        self.rung: asyncio.Queue[PhoneCall] = asyncio.Queue()
        self.callee.on_ring = self.rung.put_nowait
        for phone in (self.caller, self.callee):
            phone.voice = tone

    async def __aenter__(self) -> "Pair":
        await self.caller.open()
        await self.callee.open()
        self.caller.connect(self.callee.local)
        self.callee.connect(self.caller.local)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.caller.close()
        await self.callee.close()
        assert self.studio.open == 0

    async def talk(self) -> tuple[PhoneCall, PhoneCall]:
        calling = asyncio.create_task(self.caller.call("bob"))
        theirs = await self.rung.get()
        assert theirs.number == "alice"
        await theirs.answer()
        return await calling, theirs


def test_two_phones_talk_until_the_caller_hangs_up() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            ours, theirs = await pair.talk()
            ours.hangup()
            assert await theirs.ended == "there"
            assert await ours.ended == "here"

    real(scene())


def test_the_callee_may_hang_up_the_moment_he_has_answered() -> None:
    """RFC 3261 §15: his BYE waits for the ACK."""

    async def scene() -> None:
        async with Pair() as pair:
            calling = asyncio.create_task(pair.caller.call("bob"))
            theirs = await pair.rung.get()
            await theirs.answer()
            theirs.hangup()
            assert await theirs.ended == "here"
            assert await (await calling).ended == "there"

    real(scene())


def test_hold_and_resume() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            ours, theirs = await pair.talk()
            assert await theirs.hold(True)
            assert await theirs.hold(False)
            ours.hangup()
            await theirs.ended
            assert not await theirs.hold(True)

    real(scene())


def test_a_declined_call_says_why() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            calling = asyncio.create_task(pair.caller.call("bob"))
            (await pair.rung.get()).decline(603)
            with pytest.raises(Refused, match="603"):
                await calling

    real(scene())


def test_who_gives_up_before_the_answer_cancels() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            calling = asyncio.create_task(pair.caller.call("bob"))
            theirs = await pair.rung.get()
            calling.cancel()
            await asyncio.wait([calling])
            assert await theirs.ended == "here"

    real(scene())


def test_a_phone_that_closes_hangs_up_what_it_has() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            ours, theirs = await pair.talk()
            await pair.callee.close()
            assert await theirs.ended == "here"
            assert await ours.ended == "there"

    real(scene())


def test_strangers_are_not_answered() -> None:
    async def scene() -> None:
        async with Pair() as pair:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.1", 0))
                stranger.setblocking(False)
                stranger.sendto(b"OPTIONS sip:bob@x SIP/2.0\r\n\r\n", pair.callee.local)
                ours, _ = await pair.talk()  # what came before that was seen, and left alone
                ours.hangup()
                with pytest.raises(BlockingIOError):
                    stranger.recv(100)

    real(scene())


# --- audio ----------------------------------------------------------------------------------------------------


class Ear:
    """Takes what a stream sends, and can answer it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)

    def remote(self, **changes: Any) -> Remote:
        values: dict[str, Any] = {"codec": Codec.PCMU, "payload_type": 0, "dtmf_type": 101}
        port = self.socket.getsockname()[1]
        return Remote(host="127.0.0.1", port=port, **{**values, **changes})

    def take(self, count: int) -> list[Packet]:
        return [packet.parse(self.socket.recv(2048)) for _ in range(count)]


def sent(ticks: int, *, press: str = "", speak: bool = False, **changes: Any) -> list[Packet]:
    """What a stream sends in so many ticks of 20 ms."""

    async def scene() -> list[Packet]:
        ear = Ear()
        stream = Stream("127.0.0.1", Voice(np.full(FRAME * 4, 1000, np.int16)), random.Random(1))
        stream.connect(ear.remote(**changes))
        stream.speak(speak)
        if press:
            assert stream.press(press)
        for _ in range(ticks):
            stream.tick()
        stream.close()
        with ear.socket:
            return ear.take(ticks)

    return asyncio.run(scene())


def test_a_listener_sends_silence_without_a_gap() -> None:
    packets = sent(5)
    assert [p.payload for p in packets] == [bytes([g711.ULAW_SILENCE]) * FRAME] * 5
    assert {b.sequence - a.sequence for a, b in itertools.pairwise(packets)} == {1}
    assert {b.timestamp - a.timestamp for a, b in itertools.pairwise(packets)} == {FRAME}


@pytest.mark.parametrize(("codec", "payload_type"), [(Codec.PCMU, 0), (Codec.PCMA, 8)])
def test_a_speaker_sends_his_voice_in_the_codec_agreed_on(codec: Codec, payload_type: int) -> None:
    decode = {Codec.PCMU: g711.decode_ulaw, Codec.PCMA: g711.decode_alaw}[codec]
    for heard in sent(3, speak=True, codec=codec, payload_type=payload_type):
        assert heard.payload_type == payload_type
        assert abs(int(decode(heard.payload)[0]) - 1000) < 40


def test_a_key_is_one_event_whose_end_is_sent_three_times() -> None:
    """RFC 4733 §2.5.1."""
    packets = sent(PRESS_FRAMES + 5, press="7")
    events = [p for p in packets if p.payload_type == 101]
    presses = dtmf.Presses()
    parsed = [dtmf.parse(p.payload) for p in events]
    assert [presses.feed(p.timestamp, e) for p, e in zip(events, parsed, strict=True) if e] == ["7"] + [None] * 8
    assert [e.end for e in parsed if e] == [False] * PRESS_FRAMES + [True] * 3
    assert [p.marker for p in events] == [True] + [False] * 8
    assert len(packets) - len(events) == 2


def test_no_key_without_telephone_event_and_no_sound_on_hold() -> None:
    async def scene() -> None:
        ear = Ear()
        stream = Stream("127.0.0.1", Voice(np.zeros(FRAME, np.int16)), random.Random(1))
        assert not stream.press("1")
        stream.connect(ear.remote(dtmf_type=None, direction=Direction.INACTIVE))
        assert not stream.press("1")
        stream.tick()
        stream.close()
        ear.socket.setblocking(False)
        with ear.socket, pytest.raises(BlockingIOError):
            ear.socket.recv(100)

    asyncio.run(scene())


def test_a_voice_is_loud_enough_and_leaves_room_for_the_other() -> None:
    samples = murmur(random.Random(2), 120.0).astype(np.float64)
    assert np.abs(samples).max() <= LOUD
    windows = samples[: len(samples) // RATE * RATE].reshape(-1, RATE)
    levels = np.sqrt((windows**2).mean(axis=1))
    assert levels.max() > 500
    assert levels.min() < 50
