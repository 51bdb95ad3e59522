"""The recordings of one call: one file for each talk, each begun and ended once in the log."""

from typing import TYPE_CHECKING

import structlog

from engine.leg import SipLeg
from engine.media.plane import RecordingDone
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
        self._open: set[str] = set()

    def __bool__(self) -> bool:
        """The plane has not yet told the end of one."""
        return bool(self._open)

    def start(self, left: SipLeg, right: SipLeg) -> None:
        self._count += 1
        path = self._ua.recording_path(self._call, self._count)
        self._open.add(path)
        left.plane.record(left.port, right.port, path)
        self._ua.emit(RecordingStarted(call=self._call, path=path))

    def done(self, told: RecordingDone) -> None:
        """The plane's word."""
        path = told.path
        if path not in self._open:
            return
        self._open.discard(path)
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

    def lost(self) -> None:
        """Gone with the media process; `recordings repair` finds the files."""
        for path in list(self._open):
            self._open.discard(path)
            self._ua.emit(RecordingStopped(call=self._call, path=path, seconds=0.0, lost_frames=0))
