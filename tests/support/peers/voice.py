"""RTP for a peer that has none of its own to speak of (SIPp): sends a tone, keeps what it hears, presses keys.

PCMU only (RFC 3551), written here once more so that the engine's tables are not tested against themselves.
"""

import asyncio
import struct
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tests.support.tones import RATE, Samples, tone, write_wav

FRAME = 160
EVENT_TYPE = 101


def encode_ulaw(samples: Samples) -> bytes:
    """G.711 µ-law by its defining segments (ITU-T G.711 table 2a)."""
    sign = np.where(samples < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (segment + 3)) & 0x0F
    return bytes((~(sign | (segment << 4) | mantissa) & 0xFF).astype(np.uint8))


def _ulaw_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    value = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -value, value).astype(np.int16)


class Voice(asyncio.DatagramProtocol):
    """Bound to one port. `talk` begins sending; `finish` writes the capture, silence where nothing came."""

    def __init__(self, hz: float, capture: Path) -> None:
        self._second = encode_ulaw(tone(hz, 1.0))
        self._capture = capture
        self._table = _ulaw_table()
        self._heard: list[tuple[int, bytes]] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._target: tuple[str, int] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._sequence, self._timestamp, self._ssrc = 100, 8000, int(hz) * 65537
        self.silent = False
        """Send nothing (we are on hold, or have the other on hold)."""

    @classmethod
    async def open(cls, host: str, port: int, hz: float, capture: Path) -> "Voice":
        _, voice = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(hz, capture), local_addr=(host, port)
        )
        return voice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def error_received(self, exc: Exception) -> None:
        """A port that is not there any more; the call's own BYE follows."""

    def datagram_received(self, data: bytes, _source: tuple[str | int, int]) -> None:
        if len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F == 0:
            self._heard.append((struct.unpack_from("!I", data, 4)[0], data[12:]))

    def talk(self, host: str, port: int) -> None:
        self._target = (host, port)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send())

    def _packet(self, payload_type: int, payload: bytes, timestamp: int) -> None:
        header = struct.pack("!BBHII", 0x80, payload_type, self._sequence & 0xFFFF, timestamp, self._ssrc)
        self._sequence += 1
        if self._transport is not None and self._target is not None:
            self._transport.sendto(header + payload, self._target)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        begun, n = loop.time(), 0
        while True:
            at = n * FRAME % RATE
            self._timestamp += FRAME
            if not self.silent:
                self._packet(0, self._second[at : at + FRAME], self._timestamp)
            n += 1
            await asyncio.sleep(max(0.0, begun + n * 0.02 - loop.time()))

    async def press(self, digit: str) -> None:
        """160 ms of RFC 4733, the end three times."""
        event, begun = "0123456789*#ABCD".index(digit), self._timestamp
        for n in range(11):
            over = n >= 8
            duration = FRAME * min(n + 1, 8)
            marker = 0x80 if n == 0 else 0
            self._packet(EVENT_TYPE | marker, struct.pack("!BBH", event, over << 7 | 10, duration), begun)
            await asyncio.sleep(0.0 if over else 0.02)

    def finish(self) -> None:
        """Write what was heard, placed by its timestamps where they are near each other, and start afresh."""
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
        pieces: list[Samples] = []
        expected = None
        for timestamp, payload in self._heard:
            gap = 0 if expected is None else (timestamp - expected) & 0xFFFFFFFF
            if 0 < gap <= 30 * RATE:
                pieces.append(np.zeros(gap, np.int16))
            pieces.append(self._table[np.frombuffer(payload, np.uint8)])
            expected = (timestamp + len(payload)) & 0xFFFFFFFF
        write_wav(self._capture, np.concatenate(pieces) if pieces else np.zeros(0, np.int16))
        self._heard.clear()
