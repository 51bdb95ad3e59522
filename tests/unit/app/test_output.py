"""Lines of many processes on one screen and in one file."""

import os
from pathlib import Path

import pytest

from app import output
from app.output import Lines, Output


@pytest.fixture
def screen() -> tuple[int, int]:
    read, write = os.pipe()
    return read, write


def test_pieces_become_lines(tmp_path: Path, screen: tuple[int, int]) -> None:
    """Whatever the pieces in which a process writes; the rest is shown when it ends."""
    shown = Output(tmp_path / "log", screen[1])
    lines = Lines("web", shown)
    for piece in (b"one\ntw", b"o\n", b"\n", b"rest"):
        lines.feed(piece)
    lines.end()
    assert os.read(screen[0], 4096) == b"web      | one\nweb      | two\nweb      | \nweb      | rest\n"


def test_a_screen_that_takes_nothing_loses_lines_but_blocks_nobody(tmp_path: Path, screen: tuple[int, int]) -> None:
    """A pipe whose reader sleeps: the log file still has every line."""
    shown = Output(tmp_path / "log", screen[1])
    for _ in range(100):
        shown.line("web", b"x" * 3000)
    assert (tmp_path / "log").stat().st_size == 100 * len(b"web      | \n" + b"x" * 3000)


def test_a_screen_that_is_gone_is_no_reason_to_stop(tmp_path: Path, screen: tuple[int, int]) -> None:
    """EPIPE of a closed terminal."""
    os.close(screen[0])
    shown = Output(tmp_path / "log", screen[1])
    shown.say("still here")
    assert (tmp_path / "log").read_text() == "still here\n"


def test_the_log_file_is_turned_over(tmp_path: Path, screen: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """One older file is kept, so that the disk is not filled."""
    monkeypatch.setattr(output, "LOG_BYTES", 100)
    shown = Output(tmp_path / "log.log", screen[1])
    for n in range(12):
        shown.say(f"line {n:02} of thirty characters..")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.log", "log.log.1"]
    assert (tmp_path / "log.log.1").stat().st_size < 200
