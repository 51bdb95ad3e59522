"""One supervised process: its start, its output, its signs of life, its end."""

import math
import os
import selectors
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from app.adoption import Orphan
from app.backoff import Backoff
from app.child import STOP_GRACE
from app.output import Lines, Output
from app.plan import Spec, command
from app.preflight import python_path
from app.reports import Reports, can_read
from events.types import ProcessAdopted, ProcessExited, ProcessOutgrew, ProcessStalled, ProcessStarted

READ_BYTES = 65_536
DUMP_SIGNAL = signal.SIGUSR2
"""Makes a process write the stacks of its threads (app/child.py)."""
HAND_OVER = signal.SIGUSR1
"""To control: end, and leave the calls to whoever comes next."""
DUMP_TAKES = 0.5
"""Seconds from the order to write stacks to the kill."""


class Surroundings(NamedTuple):
    """What all processes of a supervisor share."""

    selector: selectors.BaseSelector
    output: Output
    monotonic: Callable[[], float]
    reports: Reports
    alive_fd: int
    """Read end of the pipe whose end tells them that we are gone."""
    run: str
    """Folder where they find another supervisor then; "" for none."""
    log: str
    medias: Callable[[], list[str]]
    """Arguments that tell control of the media processes."""


class Process:
    """Started by `start`, again by whoever sees that `restart_at` has come; its end is noticed through the selector."""

    def __init__(self, spec: Spec, around: Surroundings) -> None:
        self.spec = spec
        self.restart_at: float | None = None
        """When to start it again; None while it runs or is stopped for good."""
        self.kill_at = math.inf
        """When SIGKILL is due, of one that stalled."""
        self.pid = 0
        """0 while it does not run."""
        self.heard_at = math.inf
        """When it last gave a sign of life; infinity before the first."""
        self.deaths = 0
        """How often it has ended though nobody wanted that."""
        self.status = ""
        """How it ended last."""
        self._around = around
        self._selector = around.selector
        self._output = around.output
        self._now = around.monotonic
        self._reports = around.reports
        self._backoff = Backoff()
        self._out = self._beats = -1
        self._lines = Lines(spec.name, around.output)
        self._started = 0.0
        self._wanted = True
        self._replaced = False
        """Its end was ordered, and a new start is to follow at once."""

    @property
    def running(self) -> bool:
        return self.pid != 0

    @property
    def gone(self) -> bool:
        """It was stopped for good, and has ended."""
        return not self._wanted and not self.running

    def start(self) -> None:
        self.restart_at = None
        self._replaced = False
        self._out, out = os.pipe()
        self._beats, beats = os.pipe()
        around, control = self._around, self.spec.name == "control"
        fds = [around.alive_fd, beats, *(fd for _, fd in self.spec.sockets)]
        argv = command(self.spec, around.alive_fd, beats, around.run, around.log)
        if control:
            argv += around.medias()
        argv += ["--beat-fd", str(beats)]
        report = self._reports.connect() if control else None
        if report is not None:
            argv += ["--report-fd", str(report.fileno())]
            fds.append(report.fileno())
        pid = _spawn(argv, fds, out)
        os.close(out)
        os.close(beats)
        if report is not None:
            report.close()
        self._watch(pid, os.pidfd_open(pid))
        self._reports.tell(ProcessStarted(process=self.spec.name, pid=pid))

    def adopt(self, orphan: Orphan) -> None:
        """It runs already; its supervisor died."""
        self._out, out = os.pipe()
        self._beats, beats = os.pipe()
        orphan.adopt(self._around.alive_fd, out, beats)
        os.close(out)
        os.close(beats)
        self._watch(orphan.pid, orphan.pidfd)
        self._reports.tell(ProcessAdopted(process=self.spec.name, pid=orphan.pid))

    def _watch(self, pid: int, pidfd: int) -> None:
        self._started = self._now()
        self.pid, self.heard_at, self.kill_at = pid, math.inf, math.inf
        for fd in (self._out, self._beats):
            os.set_blocking(fd, False)
        self._selector.register(self._out, selectors.EVENT_READ, self._read)
        self._selector.register(pidfd, selectors.EVENT_READ, lambda: self._exited(pidfd))

    # --- signs of life ----------------------------------------------------------------------------------------------

    def listen(self, now: float) -> None:
        """Take the beats that have come since the last look."""
        with suppress(BlockingIOError):
            if self._beats >= 0 and os.read(self._beats, READ_BYTES):
                self.heard_at = now

    def stalled(self, silent_for: float) -> None:
        """Its event loop stands still: have it say where, then kill it. `_exited` sees to the rest."""
        self._output.say(f"{self.spec.name} (pid {self.pid}) gave no sign of life for {silent_for:.1f} s: killed.")
        self._reports.tell(ProcessStalled(process=self.spec.name, pid=self.pid, silent_for=round(silent_for, 3)))
        self.heard_at = math.inf
        self.kill_at = self._now() + DUMP_TAKES
        self.send(DUMP_SIGNAL)

    def outgrew(self, used: int) -> None:
        """It takes more memory than it may: have it end, or kill it. `_exited` sees to the rest."""
        name, limit = self.spec.name, self.spec.memory
        self._output.say(f"{name} (pid {self.pid}) takes {used >> 20} MB, {limit >> 20} MB are allowed: ended.")
        self._reports.tell(ProcessOutgrew(process=name, pid=self.pid, used_bytes=used, limit_bytes=limit))
        self.kill_at = self._now() + STOP_GRACE
        self.send(self.ends_by)

    # --- its end ----------------------------------------------------------------------------------------------------

    @property
    def ends_by(self) -> signal.Signals:
        """What makes it end in order, to be followed by another: control leaves its calls to that."""
        return HAND_OVER if self.spec.name == "control" else signal.SIGTERM

    def stop(self) -> None:
        """For good: no restart after this."""
        self._wanted = False
        self.restart_at = None
        self.send(signal.SIGTERM)

    def replace(self, kill_at: float) -> None:
        """End in order, and start again at once with the code that is on the disk; killed when it has not ended by
        `kill_at`."""
        self._replaced = True
        self.kill_at = kill_at
        self.send(self.ends_by)

    def flush(self) -> None:
        """Show all that it has printed so far."""
        while self._out in self._selector.get_map() and can_read(self._out):
            self._read()

    def kill(self, *, for_good: bool) -> None:
        self._wanted = self._wanted and not for_good
        self.kill_at = math.inf
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):  # it has ended, and `_exited` was not called yet
                os.kill(self.pid, number)

    def _read(self) -> None:
        try:
            data = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._lines.feed(data)
        else:
            self._selector.unregister(self._out)

    def _exited(self, pidfd: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        pid, self.pid = self.pid, 0
        status = _status(pid)
        self.flush()
        if self._out in self._selector.get_map():
            self._selector.unregister(self._out)  # a grandchild holds it open; not our output any more
        for fd in (self._out, self._beats):
            os.close(fd)
        self._out = self._beats = -1
        self.heard_at = self.kill_at = math.inf
        self._lines.end()
        self._settle(pid, status)

    def _settle(self, pid: int, status: str) -> None:
        now = self._now()
        up_for = now - self._started
        if self.spec.name == "control":
            self._reports.finish()
        self._reports.tell(
            ProcessExited(process=self.spec.name, pid=pid, status=status, up_for=up_for, ordered=self._replaced)
        )
        self.status = status
        if not self._wanted:
            return
        if self._replaced:
            self.restart_at = now
            return
        self.deaths += 1
        delay = self._backoff.exited(up_for)
        self.restart_at = now + delay
        when = f"in {delay:g} s" if delay else "now"
        self._output.say(f"{self.spec.name} (pid {pid}) ended after {up_for:.1f} s with {status}; starts again {when}.")


def _spawn(argv: list[str], fds: list[int], out: int) -> int:
    """In a process group of its own: Ctrl-C is for us alone, we stop the others in order. Only `fds` stay open in it,
    and `out` for what it prints. Returns its pid."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        return os.posix_spawn(
            sys.executable,
            argv,
            {**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
                *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds),  # onto itself: stays open
            ],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores, in us
        )
    finally:
        os.close(null)


def _status(pid: int) -> str:
    """How it ended, in words."""
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return "unknown status"
    return f"signal {-code}" if code < 0 else f"exit {code}"
