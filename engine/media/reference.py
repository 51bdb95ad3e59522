"""The media plane, slow and obvious: what native/core.pyx must do, in Python over the definitions of engine.rtp.

For tests only (about a hundred streams a core). It runs by `step` alone; nothing here reads a clock."""

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from engine.media import wav
from engine.media.core import Far, Told
from engine.media.reference_leg import VISIT_MS, Leg, Port
from engine.media.reference_mix import Conference, Ear
from engine.media.reference_recording import Recording

Events = list[tuple[int, int, Any, int, float]]


class ReferenceCore:
    """A `engine.media.core.Core`."""

    def __init__(self, *, ports: int) -> None:
        self._read, self._write = os.pipe()
        self._free = list(range(ports - 1, -1, -1))
        self._generation = [0] * ports
        self._legs: dict[int, Leg] = {}
        self._clips: list[dict[str, bytes]] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._events: Events = []
        self._closing: list[int] = []
        self._stats: dict[int, dict[str, Any]] = {}
        self._recordings: dict[int, Recording] = {}
        self._refused = 0
        self._conferences: list[Conference] = []
        self._free_recordings = list(range(ports - 1, -1, -1))
        self._now = 0
        self._tick: int | None = None
        self._dropped = 0

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)

    @property
    def event_fd(self) -> int:
        return self._read

    # --- commands ---

    def attach(self, rtp_fd: int, rtcp_fd: int, *, family: int, timeout_ms: int, identity: bytes) -> int:
        if not self._free:
            raise RuntimeError("no free port")
        slot = self._free.pop()
        self._generation[slot] = self._generation[slot] % 0x7FFF + 1
        port = Port(self._generation[slot] << 16 | slot, family, timeout_ms, identity)
        sockets = (socket.socket(fileno=rtp_fd), socket.socket(fileno=rtcp_fd))
        leg = Leg(port, sockets, self._clips, self._tell)
        self._do(lambda: self._open(leg))
        return port.id

    def _open(self, leg: Leg) -> None:
        self._legs[leg.port.id] = leg
        leg.opened(self._now)

    def connect(self, port: int, far: Far) -> None:
        self._on(port, lambda leg: leg.connect(far, self._now))

    def add_clip(self, pcmu: bytes, pcma: bytes) -> int:
        self._clips.append({"PCMU": pcmu, "PCMA": pcma})
        return len(self._clips) - 1

    def play(
        self, port: int, play: int, clips: Sequence[int], loop: bool, barge_in: bool, failed: bool = False
    ) -> None:
        def run() -> None:
            leg = self._legs.get(port)
            if leg is None:
                self._tell((Told.PLAY_DONE, port, play, 0, 0.0))
            else:
                leg.sender.play(play, list(clips), loop, barge_in, failed, self._tick or 0)

        self._do(run)

    def stop(self, port: int) -> None:
        self._on(port, lambda leg: leg.sender.end_play(False))

    def bridge(self, a: int, b: int) -> None:
        def run() -> None:
            left, right = self._legs.get(a), self._legs.get(b)
            if left is not None and right is not None and left is not right:
                self._part(left)
                self._part(right)
                left.peer, right.peer = right, left

        self._do(run)

    def unbridge(self, port: int) -> None:
        self._on(port, self._part)

    def mix(self, ports: Sequence[int], hears: Sequence[int]) -> None:
        def run() -> None:
            legs = [self._legs.get(port) for port in ports]
            due = next((one.due for leg in legs for one in self._conferences if leg and leg in one.members), None)
            for place, leg in enumerate(legs):
                if leg is None:
                    continue
                ear = leg.ear
                self._part(leg)
                leg.ear = ear or Ear()
                leg.unheeded = not any(heard >> place & 1 for heard in hears)
            self._begin(Conference(legs, list(hears)), due)

        self._do(run)

    def _begin(self, conference: Conference, due: int | None) -> None:
        free = (n for n, one in enumerate(self._conferences) if one.empty)
        index = next(free, len(self._conferences))
        tick = self._tick or 0
        conference.due = due if due is not None else tick + 1 + (index % 20 + 19 - tick % 20) % 20
        self._conferences[index : index + 1] = [conference]

    def _part(self, leg: Leg) -> None:
        leg.part()
        leg.ear = None
        leg.unheeded = False
        for conference in self._conferences:
            conference.leave(leg)

    def record(self, left: int, rights: Sequence[int], fd: int) -> int:
        if not self._free_recordings:
            raise RuntimeError("no place for a recording")
        token = self._free_recordings.pop()
        self._do(lambda: self._record(token, [left, *rights], fd))
        return token

    def _record(self, token: int, ports: list[int], fd: int) -> None:
        legs = [leg for port in dict.fromkeys(ports) if (leg := self._legs.get(port)) is not None]
        if len(legs) < len(ports):
            os.close(fd)
            self._tell((Told.RECORDING_DONE, ports[0], (token, 0, 0.0), 0, 0.0))
            return
        self._recordings[token] = recording = Recording(ports, fd, self._now, [leg.codec for leg in legs])
        for voice, leg in enumerate(legs):
            self._end_recording(leg)
            leg.recording, leg.voice = recording, voice

    def stop_recording(self, left: int) -> None:
        self._on(left, self._end_recording)

    def _end_recording(self, leg: Leg) -> None:
        recording = leg.recording
        if recording is not None:
            recording.end(self._now)
            for other in self._legs.values():
                if other.recording is recording:
                    other.recording = None

    def send_dtmf(self, port: int, event: int, duration_ms: int) -> None:
        self._on(port, lambda leg: leg.sender.queue_key(event, duration_ms))

    def close(self, port: int) -> None:
        self._on(port, self._close)

    def _close(self, leg: Leg) -> None:
        leg.sender.end_play(False)
        self._part(leg)
        self._end_recording(leg)
        leg.close()
        del self._legs[leg.port.id]
        self._stats[leg.port.id] = leg.stats()
        self._closing.append(leg.port.id)
        self._tell_closed()

    def _do(self, command: Callable[[], None]) -> None:
        self._commands.append(command)

    def _on(self, port: int, command: Callable[[Leg], None]) -> None:
        def run() -> None:
            if (leg := self._legs.get(port)) is not None:
                command(leg)

        self._do(run)

    def kick(self) -> None:
        """Nothing to do: `step` looks."""

    # --- events and numbers ---

    def _tell(self, event: tuple[int, int, Any, int, float]) -> None:
        if not self._events:
            os.write(self._write, b"!")
        self._events.append(event)

    def poll(self) -> Events:
        events, self._events = self._events, []
        if events:
            os.read(self._read, 1)
        self._free += [port & 0xFFFF for kind, port, *_ in events if kind == Told.PORT_CLOSED]
        self._free_recordings += [told[0] for kind, _, told, *_ in events if kind == Told.RECORDING_DONE]
        return events

    def stats(self, port: int) -> dict[str, Any]:
        leg = self._legs.get(port)
        return self._stats[port] if leg is None else leg.stats()

    def health(self) -> dict[str, Any]:
        legs = list(self._legs.values())
        stats = [leg.stats() for leg in legs] + list(self._stats.values())
        return {
            "ports": len(legs) + len(self._closing),
            "bridged": sum(leg.peer is not None for leg in legs) // 2,
            "recording": len(self._recordings),
            "playing": sum(leg.sender.playing for leg in legs),
            "packets_received": sum(one["packets_received"] for one in stats),
            "packets_sent": sum(one["packets_sent"] for one in stats),
            "packets_dropped": self._dropped + sum(leg.dropped for leg in legs),
            "strangers": sum(one["strangers"] for one in stats),
            "stun": sum(one["stun"] for one in stats),
            "recording_overruns": 0,
            "recording_refused": self._refused / wav.RATE,
            "event_overruns": 0,
            "late_ms_max": 0.0,
        }

    # --- running ---

    def step(self, now: int) -> None:
        self._now = now
        if self._tick is None or not (self._legs or self._closing):
            self._tick = now // 1_000_000
        while self._commands:
            self._commands.popleft()()
        some = True
        while some:  # ticks come after the first datagrams, as in a native turn: only those are before what is late
            some = sum(leg.receive(now) for leg in list(self._legs.values())) > 0
            while self._tick < now // 1_000_000:
                self._tick += 1
                self._visit(self._tick)

    def _visit(self, tick: int) -> None:
        for leg in sorted(self._legs.values(), key=lambda leg: leg.slot):
            if leg.slot % VISIT_MS == tick % VISIT_MS:
                leg.visit(tick, self._now)
        for token, recording in sorted(self._recordings.items()):
            if token % VISIT_MS != tick % VISIT_MS:
                continue
            recording.advance(self._now)
            if recording.written:
                refused = recording.length - recording.good
                told = (token, recording.error, refused / wav.RATE)
                lost = recording.lost + (refused + 159) // 160
                self._tell((Told.RECORDING_DONE, recording.ports[0], told, lost, recording.good / wav.RATE))
                del self._recordings[token]
        for index, conference in enumerate(self._conferences):
            if index % VISIT_MS == tick % VISIT_MS:
                conference.visit(tick, self._now)
        self._tell_closed()

    def _tell_closed(self) -> None:
        busy = {port for recording in self._recordings.values() for port in recording.ports}
        for port in [port for port in self._closing if port not in busy]:
            self._closing.remove(port)
            self._tell((Told.PORT_CLOSED, port, self._stats[port], 0, 0.0))

    def drain(self) -> None:
        for recording in self._recordings.values():
            if recording.ended and not recording.written:
                frames = recording.pcm().astype("<i2").tobytes()
                recording.good, recording.error = wav.write(recording.fd, frames)
                self._refused += recording.length - recording.good
                os.close(recording.fd)
                recording.written = True
