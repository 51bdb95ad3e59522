"""The recordings of one call: one file for each talk, each begun and ended once in the log."""

from typing import TYPE_CHECKING

from engine.leg import SipLeg
from events.types import RecordingStarted, RecordingStopped
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent


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

    def done(self, path: str, seconds: float, lost_frames: int) -> None:
        """The plane's word."""
        if path in self._open:
            self._open.discard(path)
            self._ua.emit(RecordingStopped(call=self._call, path=path, seconds=seconds, lost_frames=lost_frames))

    def lost(self) -> None:
        """Gone with the media process; `recordings repair` finds the files."""
        for path in list(self._open):
            self.done(path, 0.0, 0)
