"""The supervisor over real processes that do what the test tells them (fake_child.py). No waiting by time: each test
ends because a process said something."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from app.output import Output
from app.plan import Spec
from app.supervisor import Place, Supervisor
from app.unix_socket import listen
from kernel.clock import system_clock

FAKE = "tests.unit.app.fake_child"


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """A test that hangs fails, instead of holding up the suite."""

    def late(*_: object) -> None:
        raise TimeoutError("the supervisor did not finish")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def supervise(
    folder: Path,
    processes: dict[str, tuple[str, ...]],
    on_ready: Callable[[bool], None] | None = None,
    monotonic: Callable[[], float] | None = None,
    *,
    drain_within: float = 0.0,
    stalls_after: float = 0.0,
    memory: int = 0,
) -> list[str]:
    """Run until stopped (by default at the first ready); returns the lines that were shown."""
    alive, held = os.pipe()
    screen = os.open(os.devnull, os.O_WRONLY)
    log = folder / "callwright.log"
    try:
        place = Place(
            alive_fd=alive,
            output=Output(log, screen),
            monotonic=monotonic or system_clock().monotonic,
            on_ready=on_ready or (lambda _: stop()),
            desk=folder / "supervisor.sock",
            listener=listen(folder / "supervisor.sock"),
            drain_within=drain_within,
        )
        specs = [Spec(name, FAKE, words, stalls_after=stalls_after, memory=memory) for name, words in processes.items()]
        Supervisor(specs, place).run()
    finally:
        for fd in (alive, held, screen):
            os.close(fd)
    return log.read_text().splitlines()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def facts_of(lines: list[str]) -> list[str]:
    return [line.partition("| ")[2].strip() for line in lines if "| Process" in line]


def test_output_carries_the_name_of_its_process_and_no_escape(tmp_path: Path) -> None:
    """A child that prints a caller's name cannot move the operator's cursor."""
    lines = supervise(tmp_path, {"control": ("say", "hello \x1b[31m red", "ready", "wait"), "web": ("wait",)})
    assert "control  | hello ?[31m red" in lines


def test_a_process_that_dies_is_started_again_and_control_is_told(tmp_path: Path) -> None:
    """media0 dies once; its first start, its end and its second start become facts."""
    media = ("once", str(tmp_path / "died"), "wait")
    lines = supervise(tmp_path, {"control": ("facts", "4", "ready", "wait"), "media0": media})
    assert facts_of(lines) == [
        "ProcessStarted control",
        "ProcessStarted media0",
        "ProcessExited media0 exit 1",
        "ProcessStarted media0",
    ]
    assert any(line.startswith("media0 (pid ") and line.endswith("with exit 1; starts again now.") for line in lines)


def test_facts_not_noted_by_a_dying_control_reach_the_next(tmp_path: Path) -> None:
    """The first control notes one fact of two and dies; its successor hears the other, and of the death."""
    control = ("facts", "1", "once", str(tmp_path / "died"), "facts", "2", "ready", "wait")
    lines = supervise(tmp_path, {"control": control, "web": ("wait",)})
    assert facts_of(lines) == [
        "ProcessStarted control",
        "ProcessStarted web",
        "ProcessExited control exit 1",
        "ProcessStarted control",
    ]


def test_ready_tells_the_first_from_the_later_ones(tmp_path: Path) -> None:
    """Only the first ready is the moment for the welcome."""
    seen: list[bool] = []

    def on_ready(first: bool) -> None:
        seen.append(first)
        if len(seen) == 2:
            stop()

    supervise(tmp_path, {"control": ("ready", "once", str(tmp_path / "died"), "wait")}, on_ready)
    assert seen == [True, False]


def test_a_second_signal_kills_what_does_not_end(tmp_path: Path) -> None:
    """Impatience: no grace is waited for. The deaf control answers its SIGTERM by one to us; a second lies between."""
    ticks = count(step=1.0)
    lines = supervise(tmp_path, {"control": ("deaf",), "ledger": ("wait",)}, monotonic=lambda: next(ticks))
    assert lines[-2:] == ["Stopping in order; once more to stop at once.", "Stopping at once."]


def test_one_ctrl_c_that_arrives_twice_is_no_impatience(tmp_path: Path) -> None:
    """A terminal signals the whole group, and a wrapper passes it on."""

    def on_ready(_: bool) -> None:
        stop()
        os.kill(os.getpid(), signal.SIGINT)

    lines = supervise(tmp_path, {"control": ("ready", "wait"), "ledger": ("wait",)}, on_ready)
    assert lines[-1] == "Stopping in order; once more to stop at once."


def test_a_process_that_stands_still_says_where_and_is_started_again(tmp_path: Path) -> None:
    """An endless loop between two beats: its stack comes into the log, then the kill, then a new start."""
    lines = supervise(
        tmp_path, {"control": ("beat", "spin", str(tmp_path / "spun"), "ready", "wait")}, stalls_after=0.3
    )
    assert any("fake_child.py" in line and line.endswith("in spin") for line in lines)
    assert any("gave no sign of life for" in line for line in lines)
    assert any("with signal 9; starts again now." in line for line in lines)


def test_a_process_that_grows_too_large_ends_in_order_and_is_started_again(tmp_path: Path) -> None:
    """Control is told; and the next one, which does not grow, is left alone. Time runs fast, for memory is looked at
    every few seconds, but not before the process is as large as it gets."""
    clock, grown = system_clock().monotonic, tmp_path / "grown"
    begun = clock()
    web = ("grow", "200", str(grown), "wait")
    control = ("facts", "5", "ready", "wait")

    def now() -> float:
        return 20 * (clock() if grown.exists() else begun)

    lines = supervise(tmp_path, {"control": control, "web": web}, monotonic=now, memory=100 << 20)
    assert facts_of(lines) == [
        "ProcessStarted control",
        "ProcessStarted web",
        "ProcessOutgrew web",
        "ProcessExited web exit 0",
        "ProcessStarted web",
    ]
    assert any(re.match(r"web \(pid \d+\) takes 2\d\d MB, 100 MB are allowed: ended\.", line) for line in lines)


def test_draining_waits_for_calls_and_a_second_wish_does_not(tmp_path: Path) -> None:
    """Control is told once, says how many calls there are, and is stopped when there is none left."""
    lines = supervise(tmp_path, {"control": ("ready", "drain", "2,1,0", "wait")}, drain_within=60.0)
    assert any(line.startswith('control  | {"type":"drain","within":') for line in lines)
    assert [line for line in lines if "|" not in line] == [
        "Draining: no new calls. 2 calls in progress may go on for 60 s; once more to end them now.",
        "Stopping in order; once more to stop at once.",
    ]


def test_what_is_left_after_the_time_for_draining_is_ended(tmp_path: Path) -> None:
    lines = supervise(tmp_path, {"control": ("ready", "drain", "1", "wait")}, drain_within=0.2)
    assert lines[-2:] == ["1 call left: ended now.", "Stopping in order; once more to stop at once."]


@pytest.mark.parametrize("orphan", [False, True])
def test_children_end_when_the_supervisor_is_killed(tmp_path: Path, orphan: bool) -> None:
    """kill -9 of the supervisor: the pipe that only it held ends, and so do the children; those that may be adopted
    when nobody came in time, and there is no control that could need them."""
    more = {"name": "web", "run": str(tmp_path), "patience": 0.2} if orphan else {}
    watch, held_by_child = socket.socketpair()
    code = (
        "import json, os, signal, subprocess, sys\n"
        "alive, held = os.pipe()\n"
        f"life = json.dumps({{'alive': alive, **{more!r}}})\n"
        f"argv = [sys.executable, '-m', 'app.child', life, '{FAKE}', 'say', 'up', 'wait', '--beat-fd', '-1']\n"
        "child = subprocess.Popen(argv, pass_fds=[alive, int(sys.argv[1])], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(held_by_child.fileno())], pass_fds=[held_by_child.fileno()]
    )
    held_by_child.close()
    assert parent.wait() == -signal.SIGKILL
    assert watch.recv(1) == b""  # the child was the last holder of the other end
    watch.close()
