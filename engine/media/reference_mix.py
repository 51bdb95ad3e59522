"""Conferences of the reference plane: jitter buffers and sums, as native/mix.pxi."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.rtp import g711
from engine.rtp.packet import Packet, signed32

if TYPE_CHECKING:
    from engine.media.reference_leg import Leg

FRAME = 160
FRAME_MS = 20
DELAY = 320
"""Samples from a source's first packet to the frame after next: two to three frames of jitter are borne."""
AHEAD = 1600
LATE = 5
CATCH_UP_MS = 200
GAINS = (192, 96, 0, 0)
"""Of the last whole frame (/256) in place of the first, second, third that did not come."""


class Ear:
    """A member's jitter buffer: samples by RTP timestamp."""

    def __init__(self) -> None:
        self._samples: dict[int, int] = {}
        self._last = np.zeros(FRAME, np.int16)
        self._ssrc: int | None = None
        self._next = 0
        self._late = self._lost = 0

    def _anchor(self, got: Packet) -> None:
        self._samples.clear()
        self._ssrc, self._next = got.ssrc, (got.timestamp - DELAY) & 0xFFFFFFFF

    def listen(self, got: Packet, codec: str) -> None:
        size = len(got.payload)
        if size > AHEAD:
            return
        ahead = signed32(got.timestamp - self._next)
        late = ahead + size <= 0
        if self._ssrc != got.ssrc or ahead > AHEAD or (got.marker and not FRAME <= ahead <= DELAY + FRAME):
            self._anchor(got)
        elif late:
            self._late += 1
            if self._late < LATE:
                return
            self._anchor(got)
        self._late = 0
        values = (g711.decode_alaw if codec == "PCMA" else g711.decode_ulaw)(got.payload)
        ahead = signed32(got.timestamp - self._next)
        for index, value in enumerate(values.tolist()):
            if ahead + index >= 0:
                self._samples[(got.timestamp + index) & 0xFFFFFFFF] = value

    def frame(self) -> NDArray[np.int16]:
        """The next 20 ms."""
        if self._ssrc is None:
            return np.zeros(FRAME, np.int16)
        faded = (self._last.astype(np.int32) * GAINS[self._lost]) >> 8
        found = [self._samples.pop((self._next + index) & 0xFFFFFFFF, None) for index in range(FRAME)]
        self._next = (self._next + FRAME) & 0xFFFFFFFF
        out = np.array([faded[n] if value is None else value for n, value in enumerate(found)], np.int16)
        if None in found:
            self._lost = min(3, self._lost + 1)
        else:
            self._lost, self._last = 0, out
        return out


class Conference:
    """hears[i], bit j: member i hears member j. None in `members`: has left, or was never there."""

    def __init__(self, members: Sequence["Leg | None"], hears: Sequence[int]) -> None:
        self.members = list(members)
        self.hears = hears
        self.due = 0
        """Tick of the next frame."""

    @property
    def empty(self) -> bool:
        return not any(self.members)

    def leave(self, leg: "Leg") -> None:
        self.members = [None if one is leg else one for one in self.members]

    def visit(self, tick: int, now: int) -> None:
        while not self.empty and self.due <= tick:
            self._frame(now, stale=now // 1_000_000 - self.due > CATCH_UP_MS)
            self.due += FRAME_MS

    def _frame(self, now: int, *, stale: bool) -> None:
        frames = [None if leg is None or leg.ear is None else leg.ear.frame() for leg in self.members]
        for place, leg in enumerate(self.members):
            if leg is None:
                continue
            total = np.zeros(FRAME, np.int32)
            for other, frame in enumerate(frames):
                if frame is not None and other != place and self.hears[place] >> other & 1:
                    total += frame
            leg.sender.mix(total, now, stale=stale)
