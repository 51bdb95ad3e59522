"""`callwright demo` as a newcomer starts it: calls are served and recorded, and nothing is left of it."""

import os
import signal
import subprocess
import sys
import tempfile
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from events.codec import event_type
from events.fold import fold
from events.journal import read
from events.types import CallEnded, CallOutcome, Recorded, RecordingStopped

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
MARK = "CALLWRIGHT_TEST_MARK"


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder whose path leaves room for UNIX sockets, and the mark of what is started with it."""
    with tempfile.TemporaryDirectory(prefix="cw-") as folder:
        yield Path(folder)


def start(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    """Its temporary files, if any, come under `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "app", "demo", "--plain", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), MARK: str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def demo(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run to its own end."""
    with start(*arguments, folder=folder) as process:
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def left_running(folder: Path) -> list[str]:
    """Command lines of the processes that this demo has started and that are still there."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes() if process.name.isdigit() else b""
            if mark in environment.split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # gone in this moment, or not ours to look at
    return found


def story(records: list[Recorded]) -> str:
    return str(Counter(event_type(record.event) for record in records))


def test_the_demo_serves_and_records_calls_and_leaves_nothing(tmp_path: Path, short: Path) -> None:
    site = tmp_path / "site"
    done = demo("--seconds", "20", "--callers-per-minute", "60", "--seed", "1", "--folder", str(site), folder=short)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is alive" in done.stdout
    assert "/metrics" in done.stdout
    records = list(read(site / "var" / "journal"))
    state = fold(records)
    assert state.outcomes[CallOutcome.SERVED] >= 1, story(records) + done.stdout
    assert state.outcomes[CallOutcome.FAILED] == 0, story(records)
    assert not state.calls
    assert not state.phones
    assert sum(isinstance(record.event, CallEnded) for record in records) >= 10
    assert left_running(short) == []
    assert list(short.iterdir()) == []
    for event in (record.event for record in records):
        if isinstance(event, RecordingStopped):
            both_are_heard(site / "recordings" / event.path, event.seconds)


def both_are_heard(path: Path, seconds: float) -> None:
    with wave.open(str(path)) as sound:
        assert sound.getnchannels() == 2
        assert abs(sound.getnframes() / sound.getframerate() - seconds) < 0.1
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2).astype(np.float64)
    if seconds > 3.0:
        assert (np.sqrt((samples**2).mean(axis=0)) > 200.0).all(), path


def test_ctrl_c_ends_a_demo_and_takes_its_folder_with_it(short: Path) -> None:
    with start("--agents", "1", folder=short) as process:
        try:
            assert process.stdout is not None
            seen = next(line for line in process.stdout if "Be an agent" in line)
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert "8002" in seen
    assert "Stopping" in rest
    assert process.returncode == 0, rest + errors
    assert errors == ""
    assert list(short.iterdir()) == []
    assert left_running(short) == []


def test_a_folder_with_something_in_it_is_not_touched(short: Path) -> None:
    mine = short / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    done = demo("--folder", str(mine), folder=short)
    assert done.returncode == 1
    assert done.stderr == f"callwright: {mine} is not an empty folder\n"
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]


def test_a_broken_site_starts_nothing(tmp_path: Path, short: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "callwright.yaml").write_text("nmae: x\n")
    done = demo("--site", str(tmp_path), folder=short)
    assert done.returncode == 2
    assert "config/callwright.yaml:1:1: " in done.stderr
    assert list(short.iterdir()) == []
