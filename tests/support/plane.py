"""A media plane without sound, for tests of what commands it: it keeps the contract of engine.media.plane, and notes
whoever does not."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.media.plane import (
    Direction,
    Dtmf,
    MediaEvent,
    PlaneError,
    PlayDone,
    PlayId,
    PortClosed,
    PortId,
    PortStats,
    RecordingDone,
    Remote,
    RtpTimeout,
)


@dataclass(slots=True)
class FakePort:
    host: str
    rtp_port: int
    remote: Remote | None = None
    partner: PortId | None = None
    hears: Sequence[PortId] = ()
    """In a conference."""
    play: PlayId | None = None
    clips: Sequence[str] = ()
    looping: bool = False
    barge_in: bool = False
    began: float = 0.0
    timer: asyncio.TimerHandle | None = None
    recording: str = ""
    """Of which it is the left side."""
    voices: Sequence[PortId] = ()
    """On the right side of that."""
    keys: str = ""
    """Sent to the far end."""
    awaited_since: float = -1.0
    """From when silence counts (see reference_leg.py); -1: never."""


class FakePlane:
    """`events` gets each MediaEvent in a later turn of the loop, as from a media process. Clips last `clip_seconds`.

    opening: seconds that `open` takes; closing: that a close takes; full: `open` fails; faults: commands to ports that
    are not there; read_only: no recording can be made."""

    def __init__(self, name: str = "media0") -> None:
        self.name = name
        self.events: Callable[[MediaEvent], None] = lambda event: None
        self.clip_seconds = 2.0
        self.opening = 0.001
        self.closing = 0.001
        self.full = False
        self.lost = False
        self.read_only = False
        self.faults: list[str] = []
        self.played: list[str] = []
        self.ports: dict[PortId, FakePort] = {}
        self._ids = itertools.count(1)
        first = 20_000 + 1000 * int(name[-1])
        self.range = range(first, first + 1000, 2)
        self._rtp_ports = itertools.count(first, 2)

    # --- the plane ---

    async def open(self, host: str, *, rtp_timeout: float = 0.0, rtp_port: int = 0) -> tuple[PortId, int]:
        await asyncio.sleep(self.opening)
        if self.full or self.lost:
            raise PlaneError("no free RTP port")
        port = PortId(next(self._ids))
        taken = {found.rtp_port for found in self.ports.values()}
        number = rtp_port if rtp_port in self.range and rtp_port not in taken else 0
        number = number or next(it for it in self._rtp_ports if it not in taken)
        self.ports[port] = FakePort(host, number)
        return port, self.ports[port].rtp_port

    async def load(self, clips: Sequence[str]) -> dict[str, float]:
        return dict.fromkeys(clips, self.clip_seconds)

    def connect(self, port: PortId, remote: Remote) -> None:
        if (found := self._find(port, "connect")) is not None:
            both = remote.direction is Direction.SENDRECV
            if not both or found.awaited_since < 0:
                found.awaited_since = asyncio.get_running_loop().time() if both else -1.0
            found.remote = remote

    def play(self, port: PortId, play: PlayId, clips: Sequence[str], *, loop: bool, barge_in: bool) -> None:
        found = self._find(port, "play")
        if found is None:
            return
        self._stop(port, finished=False)
        now = asyncio.get_running_loop().time()
        found.play, found.clips, found.looping, found.barge_in, found.began = play, clips, loop, barge_in, now
        self.played += clips
        if not loop:
            length = self.clip_seconds * len(clips)
            found.timer = asyncio.get_running_loop().call_later(length, self._finished, port, play)

    def stop(self, port: PortId) -> None:
        if self._find(port, "stop") is not None:
            self._stop(port, finished=False)

    def bridge(self, a: PortId, b: PortId) -> None:
        left, right = self._find(a, "bridge"), self._find(b, "bridge")
        if left is not None and right is not None:
            self.unbridge(a)
            self.unbridge(b)
            left.partner, right.partner = b, a

    def mix(self, ports: Sequence[PortId], hears: Sequence[Sequence[PortId]]) -> None:
        for port, heard in zip(ports, hears, strict=True):
            self.unbridge(port)
            if (found := self._find(port, "mix")) is not None:
                found.hears = heard

    def unbridge(self, a: PortId) -> None:
        found = self._find(a, "unbridge")
        if found is not None:
            found.hears = ()
        if found is not None and found.partner is not None:
            self.ports[found.partner].partner = None
            found.partner = None

    def record(self, left: PortId, right: PortId, path: str, also: Sequence[PortId] = ()) -> None:
        found, others = self._find(left, "record"), [self._find(port, "record") for port in (right, *also)]
        if self.read_only:
            self._tell(RecordingDone(left, path, 0.0, 1, "Read-only file system", -1.0))
        elif found is not None and None not in others:
            self.stop_recording(left)
            found.recording, found.voices = path, (right, *also)
        else:
            self._tell(RecordingDone(left, path, 0.0, 0))

    def stop_recording(self, left: PortId) -> None:
        found = self._find(left, "stop_recording")
        if found is not None and found.recording:
            self._tell(RecordingDone(left, found.recording, 1.0, 0))
            found.recording, found.voices = "", ()

    def send_dtmf(self, port: PortId, digit: str, duration_ms: int = 160) -> None:
        if (found := self._find(port, "send_dtmf")) is not None:
            found.keys += digit

    def close(self, port: PortId) -> None:
        found = self._find(port, "close")
        if found is None:
            return
        self._stop(port, finished=False)
        if found.recording:
            self.stop_recording(port)
        for left, other in self.ports.items():
            if port in other.voices:
                self.stop_recording(left)
        if found.partner is not None:
            self.ports[found.partner].partner = None
        del self.ports[port]
        asyncio.get_running_loop().call_later(self.closing, self._tell, PortClosed(port, PortStats(packets_sent=1)))

    # --- what happens outside ---

    def at(self, rtp_port: int) -> PortId | None:
        """The port whose SDP named this RTP port."""
        return next((port for port, found in self.ports.items() if found.rtp_port == rtp_port), None)

    def press(self, port: PortId, digit: str) -> None:
        """The far end presses a key."""
        found = self.ports[port]
        self._tell(Dtmf(port, digit, "rfc4733"))
        if found.play is not None and found.barge_in:
            self._stop(port, finished=False)

    def fall_silent(self, port: PortId) -> None:
        self._tell(RtpTimeout(port, 30.0))

    def lose(self) -> None:
        """The media process dies: no event comes any more, commands go nowhere."""
        self.lost = True
        for found in self.ports.values():
            if found.timer is not None:
                found.timer.cancel()
        self.ports.clear()

    # --- inside ---

    def _find(self, port: PortId, what: str) -> FakePort | None:
        found = self.ports.get(port)
        if found is None and not self.lost:
            self.faults.append(f"{what} {port}")
        return found

    def _finished(self, port: PortId, play: PlayId) -> None:
        found = self.ports.get(port)
        if found is not None and found.play == play:
            self._stop(port, finished=True)

    def _stop(self, port: PortId, *, finished: bool) -> None:
        found = self.ports[port]
        if found.timer is not None:
            found.timer.cancel()
        if found.play is not None:
            seconds = asyncio.get_running_loop().time() - found.began
            self._tell(PlayDone(port, found.play, finished, seconds))
        found.play, found.timer, found.clips, found.looping = None, None, (), False

    def _tell(self, event: MediaEvent) -> None:
        asyncio.get_running_loop().call_soon(self._arrive, event)

    def _arrive(self, event: MediaEvent) -> None:
        if not self.lost:
            self.events(event)
