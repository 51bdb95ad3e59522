"""The recordings of one call: one file for each talk, each begun and ended once in the log."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from engine.leg import SipLeg
from engine.media.lost import LostPlane
from engine.media.plane import Plane, RecordingDone
from engine.media.protocol import PortState
from engine.saved import RecordingsState
from events.types import RecordingFailed, RecordingStarted, RecordingStopped
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent

log = structlog.get_logger()


class Recordings:
    def __init__(self, ua: "UserAgent", call: CallId) -> None:
        self._ua = ua
        self._call = call
        self._count = 0
        self._open: dict[str, Plane] = {}
        self._repairs: dict[str, asyncio.Task[None]] = {}
        self._restored: frozenset[str] = frozenset()
        """Begun by an earlier control process, whose command may have been lost with it."""

    def __bool__(self) -> bool:
        """The plane has not yet told the end of one."""
        return bool(self._open)

    def state(self) -> RecordingsState:
        """For `restore`."""
        return RecordingsState(self._count, {path: plane.name for path, plane in self._open.items()})

    def restore(self, state: RecordingsState, plane: Callable[[str], Plane]) -> None:
        """They go on, and their media processes will tell of their end. plane: of a name."""
        self._count = state.count
        self._open = {path: plane(name) for path, name in state.open.items()}
        self._restored = frozenset(state.open)

    def check(self, left: SipLeg, rights: Sequence[SipLeg], there: PortState) -> None:
        """Begin the one again of which the plane has not heard. `there` is from before any command of ours."""
        ready = bool(rights) and all(leg.has_media for leg in (left, *rights))
        for path in self._restored & self._open.keys():
            plane = self._open[path]
            if plane is left.plane and there.recording != path and ready:
                first, *also = (leg.port for leg in rights)
                plane.record(left.port, first, path, also)

    def start(self, left: SipLeg, *rights: SipLeg) -> None:
        """rights: one or more; all have media, on the plane of `left`."""
        self._count += 1
        path = self._ua.recording_path(self._call, self._count)
        self._open[path] = left.plane
        first, *also = (leg.port for leg in rights)
        left.plane.record(left.port, first, path, also)
        self._ua.emit(RecordingStarted(call=self._call, path=path))

    def done(self, told: RecordingDone) -> None:
        """The plane's word."""
        path = told.path
        if self._open.pop(path, None) is None:
            return
        if told.error:
            self._failed(told)
        stopped = RecordingStopped(call=self._call, path=path, seconds=told.seconds, lost_frames=told.lost_frames)
        self._ua.emit(stopped)

    def _failed(self, told: RecordingDone) -> None:
        """The talk goes on without; the next recording is tried as if nothing had been."""
        failed = RecordingFailed(
            call=self._call, path=told.path, why=told.error, seconds=told.seconds, refused=told.refused
        )
        self._ua.emit(failed)
        if count := self._ua.recording_failures.take(self._ua.clock.monotonic()):
            log.error("a recording failed", call=self._call, path=told.path, error=told.error, times=count)

    def resumed(self, then: Callable[[], None]) -> None:
        """The legs are back. What a media process left that died before is repaired now: see `lost`."""
        for plane in set(self._open.values()):
            if isinstance(plane, LostPlane):
                self.lost(plane, then)

    def lost(self, plane: Plane, then: Callable[[], None]) -> None:
        """A media process is gone: what it wrote is made playable. `then` after each file."""
        for path, owner in self._open.items():
            if owner is plane and path not in self._repairs:
                repair = asyncio.get_running_loop().create_task(self._repair(path, then))
                self._repairs[path] = repair

    async def _repair(self, path: str, then: Callable[[], None]) -> None:
        seconds = await self._ua.repair(path)
        if self._open.pop(path, None) is not None:
            stopped = RecordingStopped(call=self._call, path=path, seconds=seconds, lost_frames=0, repaired=True)
            self._ua.emit(stopped)
        then()
