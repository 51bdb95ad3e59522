"""One recording of the reference plane: the whole of all voices in memory, written at the end."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.rtp import g711
from engine.rtp.packet import Packet

HOLD_BACK = 4000
"""Samples: how late or early a packet may be and still find its place."""
OUT_OF_PLACE = 10
SAMPLE_NS = 125_000


class Channel:
    """One leg's voice. codec: what it spoke when the recording began. Codes of the other codec are translated, and its
    code for silence stands where nothing came (A-law has no exact 0)."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.ssrc: int | None = None
        self.timestamp = 0
        self.position = 0
        self.misplaced = 0
        self.parts: list[tuple[int, bytes]] = []


class Recording:
    """As native/record.pxi, with the ring as long as the call. ports: the first is left, all others are right."""

    def __init__(self, ports: Sequence[int], fd: int, began: int, codecs: Sequence[str]) -> None:
        self.ports, self.fd, self.began = ports, fd, began
        self.channels = [Channel(codec) for codec in codecs]
        self.head = 0
        """Samples below are final."""
        self.lost = 0
        self.length = 0
        self.ended = False
        self.written = False
        self.good = 0
        """Samples that are in the file …"""
        self.error = 0
        """… and why not all, as errno."""

    def place(self, voice: int, codec: str, got: Packet, now: int) -> None:
        """Where its timestamp belongs; the first packet of a source stands where it arrived."""
        channel, codes, ssrc, timestamp = self.channels[voice], got.payload, got.ssrc, got.timestamp
        if codec != channel.codec:
            codes = codes.translate(g711.ulaw_to_alaw() if codec == "PCMU" else g711.alaw_to_ulaw())
        here = max(0, (now - self.began) // SAMPLE_NS - len(codes))
        if channel.ssrc != ssrc:
            channel.ssrc, channel.timestamp, channel.position, channel.misplaced = ssrc, timestamp, here, 0
        ahead = ((timestamp - channel.timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        position = channel.position + ahead
        if len(codes) > HOLD_BACK:
            self.lost += 1
            return
        if position < self.head or position > here + HOLD_BACK:
            channel.misplaced += 1
            if channel.misplaced < OUT_OF_PLACE:
                self.lost += 1
                return
            position = here
        channel.misplaced, channel.position, channel.timestamp = 0, position, timestamp
        channel.parts.append((position, codes))

    def advance(self, now: int) -> None:
        if not self.ended:
            self.head = max(self.head, (now - self.began) // SAMPLE_NS - HOLD_BACK)

    def end(self, now: int) -> None:
        if not self.ended:
            self.length = max(self.head, (now - self.began) // SAMPLE_NS)
            self.ended = True

    def pcm(self) -> NDArray[np.int16]:
        """Shape (`length`, 2); what nobody sent is silence."""
        voices = self._voices()
        right = np.sum(voices[1:], axis=0, dtype=np.int32)
        return np.stack([voices[0], np.clip(right, -32768, 32767).astype(np.int16)], axis=1)

    def _voices(self) -> list[NDArray[np.int16]]:
        out = []
        for channel in self.channels:
            alaw = channel.codec == "PCMA"
            codes = bytearray([g711.ALAW_SILENCE if alaw else g711.ULAW_SILENCE] * (self.length + HOLD_BACK * 2))
            for position, part in channel.parts:
                codes[position : position + len(part)] = part
            out.append((g711.decode_alaw if alaw else g711.decode_ulaw)(bytes(codes[: self.length])))
        return out
