"""Media processes that come, cannot be used, go, and come back."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app import medias
from app.medias import Medias
from engine.media.plane import PlaneError
from tests.support.virtual import run


class Process:
    """One connection to a media process."""

    def __init__(self, lost: Callable[[], None], why_not: str) -> None:
        self.lost = lost
        self.why_not = why_not
        self.closed = False

    def reset(self) -> None: ...

    async def load(self, clips: list[str]) -> None:
        if self.why_not:
            raise PlaneError(self.why_not)

    async def aclose(self) -> None:
        self.closed = True


def of(clips: list[str], lost: list[object]) -> Medias:
    return Medias(
        {"m0": Path("/m0")},
        clips,
        emit=lambda event: None,
        event=lambda plane, event: None,
        lost=lost.append,
        soon=asyncio.get_running_loop().call_soon,
        saved={},
    )


def test_one_that_refuses_a_clip_is_named_once_left_alone_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    lost: list[object] = []

    async def connect(path: str, *, lost: Callable[[], None], **_: object) -> Any:
        if not made:
            made.append(Process(lost, "clip a.wav: stereo"))
            raise OSError("nobody listens")
        made.append(Process(lost, "clip a.wav: stereo" if len(made) < 4 else ""))
        return made[-1]

    async def story() -> None:
        found = of(["a.wav"], lost)
        assert found.choose() is None
        await found.start()
        assert [process.closed for process in made] == [False, True, True, True, False]
        assert [found.choose()] == made[-1:]
        await found.close()

    monkeypatch.setattr(medias, "connect", connect)
    with capture_logs() as logs:
        run(story())
    assert [entry["error"] for entry in logs if entry["log_level"] == "error"] == ["clip a.wav: stereo"]
    assert not lost


def test_a_lost_one_is_told_of_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    lost: list[object] = []

    async def connect(path: str, *, lost: Callable[[], None], **_: object) -> Any:
        made.append(Process(lost, ""))
        return made[-1]

    async def story() -> None:
        found = of([], lost)
        await found.start()
        made[0].lost()
        assert lost == [made[0]]  # in the same turn: who waits for a port there is sent elsewhere
        assert found.choose() is None
        await asyncio.sleep(0.1)
        assert lost == [made[0]]
        assert [found.choose()] == made[1:]
        await found.close()

    monkeypatch.setattr(medias, "connect", connect)
    run(story())
