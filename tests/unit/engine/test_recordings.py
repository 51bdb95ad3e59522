"""Recordings that a control process takes over: each is told to the media process once."""

from types import SimpleNamespace
from typing import Any, cast

from engine.media.protocol import PortState
from engine.recordings import Recordings
from engine.saved import RecordingsState
from events.types import Event, RecordingStarted
from kernel.ids import CallId

CALL = CallId("c")


class Stage:
    """A call's recordings on a plane that takes note of what it is told."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.events: list[Event] = []
        plane = SimpleNamespace(record=lambda left, right, path, also=(): self.recorded.append(path))
        ua = SimpleNamespace(recording_path=lambda call, count: f"{call}-{count}.wav", emit=self.events.append)
        self.recordings = Recordings(cast(Any, ua), CALL)
        self.left = cast(Any, SimpleNamespace(plane=plane, port=1, has_media=True))
        self.right = cast(Any, SimpleNamespace(plane=plane, port=2, has_media=True))


def test_one_that_the_plane_never_heard_of_begins_again() -> None:
    stage = Stage()
    stage.recordings.restore(RecordingsState(1, {"c-1.wav": "media0"}), lambda name: stage.left.plane)
    stage.recordings.check(stage.left, [stage.right], PortState(20000))
    assert stage.recorded == ["c-1.wav"]


def test_one_that_goes_on_is_left_alone() -> None:
    stage = Stage()
    stage.recordings.restore(RecordingsState(1, {"c-1.wav": "media0"}), lambda name: stage.left.plane)
    stage.recordings.check(stage.left, [stage.right], PortState(20000, recording="c-1.wav"))
    assert stage.recorded == []


def test_one_begun_since_is_not_begun_twice() -> None:
    """A consultation that ended with the old process gave the caller back: a new recording, of which what the plane
    said before cannot know."""
    stage = Stage()
    stage.recordings.restore(RecordingsState(1, {}), lambda name: stage.left.plane)
    stage.recordings.start(stage.left, stage.right)
    stage.recordings.check(stage.left, [stage.right], PortState(20000))
    assert stage.recorded == ["c-2.wav"]
    assert stage.events == [RecordingStarted(call=CALL, path="c-2.wav")]
