"""One recording of the reference plane: the whole of both channels in memory, written at the end."""

import numpy as np
from numpy.typing import NDArray

HOLD_BACK = 4000
"""Samples: how late or early a packet may be and still find its place."""
OUT_OF_PLACE = 10
SAMPLE_NS = 125_000


class Channel:
    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.timestamp = 0
        self.position = 0
        self.misplaced = 0
        self.parts: list[tuple[int, NDArray[np.int16]]] = []


class Recording:
    """As native/record.pxi, with the ring as long as the call."""

    def __init__(self, token: int, left: int, right: int, fd: int, began: int) -> None:
        self.token, self.left, self.right, self.fd, self.began = token, left, right, fd, began
        self.channels = (Channel(), Channel())
        self.head = 0
        """Samples below are final."""
        self.lost = 0
        self.length = 0
        self.ended = False
        self.written = False

    def place(self, side: int, ssrc: int, timestamp: int, samples: NDArray[np.int16], now: int) -> None:
        """Where its timestamp belongs; the first packet of a source stands where it arrived."""
        channel = self.channels[side]
        here = max(0, (now - self.began) // SAMPLE_NS - len(samples))
        if channel.ssrc != ssrc:
            channel.ssrc, channel.timestamp, channel.position, channel.misplaced = ssrc, timestamp, here, 0
        ahead = ((timestamp - channel.timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        position = channel.position + ahead
        if len(samples) > HOLD_BACK:
            self.lost += 1
            return
        if position < self.head or position > here + HOLD_BACK:
            channel.misplaced += 1
            if channel.misplaced < OUT_OF_PLACE:
                self.lost += 1
                return
            position = here
        channel.misplaced, channel.position, channel.timestamp = 0, position, timestamp
        channel.parts.append((position, samples))

    def advance(self, now: int) -> None:
        if not self.ended:
            self.head = max(self.head, (now - self.began) // SAMPLE_NS - HOLD_BACK)

    def end(self, now: int) -> None:
        if not self.ended:
            self.length = max(self.head, (now - self.began) // SAMPLE_NS)
            self.ended = True

    def pcm(self) -> list[NDArray[np.int16]]:
        """Two channels of `length` samples; what nobody sent is silence."""
        out = []
        for channel in self.channels:
            samples = np.zeros(self.length + HOLD_BACK * 2, np.int16)
            for position, part in channel.parts:
                samples[position : position + len(part)] = part
            out.append(samples[: self.length])
        return out
