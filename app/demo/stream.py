"""The audio side of a simulated phone: one RTP stream, 20 ms a packet, sent and received over a real socket."""

import asyncio
import random
import socket
from collections import deque
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.media.plane import Codec, Direction, Remote
from engine.rtp import dtmf, g711, packet
from engine.rtp.dtmf import TelephoneEvent
from engine.rtp.packet import Packet, PacketError, signed16

FRAME: Final = 160
"""Samples, and octets of G.711, in 20 ms."""
FRAME_SECONDS: Final = 0.02
PRESS_FRAMES: Final = 6
"""A key is held for 120 ms."""
PAIR_TRIES: Final = 100
CATCH_UP: Final = 5
"""Frames sent at once after the loop was late; what is lost beyond that stays lost, as with any phone."""
BURST: Final = 64
"""Packets read at once."""
_SILENCE: Final = {Codec.PCMU: g711.ULAW_SILENCE, Codec.PCMA: g711.ALAW_SILENCE}


class Voice:
    """One person's clip, encoded once for each codec and spoken in a loop."""

    def __init__(self, samples: NDArray[np.int16]) -> None:
        whole = samples[: len(samples) // FRAME * FRAME]
        self._frames = {
            Codec.PCMU: _cut(g711.encode_ulaw(whole)),
            Codec.PCMA: _cut(g711.encode_alaw(whole)),
        }

    def frame(self, codec: Codec, number: int) -> bytes:
        frames = self._frames[codec]
        return frames[number % len(frames)]


def _cut(data: bytes) -> list[bytes]:
    return [data[start : start + FRAME] for start in range(0, len(data), FRAME)]


class Stream:
    """Made unconnected; sends as soon as it is connected and its Studio ticks. Close it."""

    def __init__(self, host: str, voice: Voice, chance: random.Random) -> None:
        self._rtp, self._rtcp = _pair(host)
        self.port: int = self._rtp.getsockname()[1]
        self._voice = voice
        self._remote: Remote | None = None
        self._to = ("", 0)
        self._talking = False
        self._frame = 0
        self._sequence = chance.getrandbits(15)
        self._timestamp = chance.getrandbits(31)
        self._ssrc = chance.getrandbits(32)
        self._keys: deque[tuple[bytes, bool]] = deque()
        """Packets of key presses to send: payload, and whether it is the first of its press."""
        self._pressed_at = 0
        self._last: tuple[int, int] | None = None
        """SSRC and sequence number of the packet heard last."""
        self.received = 0
        self.lost = 0
        asyncio.get_running_loop().add_reader(self._rtp.fileno(), self._receive)

    def connect(self, remote: Remote) -> None:
        """Where to send, and in what codec; again after each re-INVITE. What was not sent on hold is not lost."""
        self._last = None
        self._remote, self._to = remote, (remote.host, remote.port)

    def speak(self, on: bool) -> None:
        """Say something, or only listen (silence is sent then: a phone never stops sending)."""
        self._talking = on

    def press(self, digit: str) -> bool:
        """Queue a key press as telephone-event; False when the far end did not negotiate it."""
        if self._remote is None or self._remote.dtmf_type is None:
            return False
        event = dtmf.DIGITS.index(digit)
        for number in range(1, PRESS_FRAMES + 1):
            self._add_key(event, False, number * FRAME, number == 1)
        for _ in range(dtmf.END_PACKETS):
            self._add_key(event, True, PRESS_FRAMES * FRAME, False)
        return True

    def _add_key(self, event: int, end: bool, duration: int, first: bool) -> None:
        self._keys.append((dtmf.encode(TelephoneEvent(event, end, 10, duration)), first))

    def tick(self) -> None:
        """20 ms have passed: send what belongs to them."""
        remote = self._remote
        self._timestamp += FRAME
        self._frame += 1
        if remote is None or remote.direction not in (Direction.SENDRECV, Direction.SENDONLY):
            return
        self._sequence += 1
        if self._keys and remote.dtmf_type is not None:
            payload, first = self._keys.popleft()
            if first:
                self._pressed_at = self._timestamp
            out = Packet(remote.dtmf_type, self._sequence, self._pressed_at, self._ssrc, payload, first)
        else:
            out = Packet(remote.payload_type, self._sequence, self._timestamp, self._ssrc, self._sound(remote.codec))
        with suppress(OSError):  # the far end's port is closed, or our buffer is full: a lost packet either way
            self._rtp.sendto(packet.encode(out), self._to)

    def _sound(self, codec: Codec) -> bytes:
        return self._voice.frame(codec, self._frame) if self._talking else bytes([_SILENCE[codec]]) * FRAME

    def _receive(self) -> None:
        for _ in range(BURST):
            try:
                heard = packet.parse(self._rtp.recv(2048))
            except BlockingIOError:
                return
            except (OSError, PacketError):
                continue  # an ICMP error, or no RTP
            if self._last is not None and self._last[0] == heard.ssrc:  # another source counts anew
                self.lost += max(0, signed16(heard.sequence - self._last[1]) - 1)
            self._last = (heard.ssrc, heard.sequence)
            self.received += 1

    def close(self) -> None:
        if self._rtp.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._rtp.fileno())
            self._rtp.close()
            self._rtcp.close()


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    """An even RTP port and the odd one above it (RFC 3550 §11), from those that the kernel hands out.

    Nobody reads the second: it is there so that RTCP is not answered by ICMP. Raises OSError when none is to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(PAIR_TRIES):
        one, other = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        one.setblocking(False)
        other.setblocking(False)
        try:
            one.bind((host, 0))
            port = one.getsockname()[1]
            other.bind((host, port ^ 1))
        except OSError:
            one.close()
            other.close()
            continue
        return (other, one) if port % 2 else (one, other)
    raise OSError(f"no pair of free UDP ports on {host}")


class Studio:
    """Gives all streams their 20 ms, by one timer that does not drift."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._heard = 0
        self._lost = 0

    @property
    def open(self) -> int:
        return len(self._streams)

    @property
    def received(self) -> int:
        """Packets that all phones together have heard."""
        return self._heard + sum(stream.received for stream in self._streams)

    @property
    def lost(self) -> int:
        return self._lost + sum(stream.lost for stream in self._streams)

    def add(self, stream: Stream) -> None:
        self._streams[stream] = None

    def remove(self, stream: Stream) -> None:
        if stream in self._streams:
            del self._streams[stream]
            self._heard += stream.received
            self._lost += stream.lost
        stream.close()

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + FRAME_SECONDS, loop.time() - CATCH_UP * FRAME_SECONDS)
            await asyncio.sleep(max(0.0, due - loop.time()))
            for stream in list(self._streams):
                stream.tick()
