"""One supervised process, and the socket on which control is told what became of the others."""

import os
import selectors
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.backoff import Backoff
from app.output import Lines, Output
from app.plan import Spec
from events.types import Event, ProcessExited, ProcessStarted

PENDING_FACTS = 10_000
"""Facts kept while control is away; the oldest go first beyond that."""
LINE_BYTES = 65_536


class Reports:
    """Facts for control's journal, kept until control notes them (format: app/supervisor.py)."""

    def __init__(self, selector: selectors.BaseSelector, ready: Callable[[], None]) -> None:
        self._selector = selector
        self._ready = ready
        self._facts: deque[bytes] = deque(maxlen=PENDING_FACTS)
        self._sent = 0
        """`_facts[:_sent]` were given to the present control, which has not noted them yet."""
        self._noted = 0
        self._half = b""
        """Rest of a line that the socket took in part."""
        self._socket: socket.socket | None = None
        self._rest = b""

    def connect(self) -> socket.socket:
        """A new control starts: its end of a new pair. The caller closes it after the start."""
        self.disconnect()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket, self._sent, self._noted, self._rest, self._half = ours, 0, 0, b"", b""
        self._selector.register(ours, selectors.EVENT_READ, self._receive)
        self._send()
        return theirs

    def finish(self) -> None:
        """Control has died: hear what it still said, then forget it."""
        while self._socket is not None and can_read(self._socket.fileno()):
            self._receive()
        self.disconnect()

    def disconnect(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None

    def tell(self, fact: Event) -> None:
        if len(self._facts) == PENDING_FACTS and self._sent:
            self._sent -= 1  # the oldest falls out; control may still note it
            self._noted += 1
        self._facts.append(msgspec.json.encode(fact) + b"\n")
        self._send()

    def _send(self) -> None:
        """Give the socket what it takes. When it is full the next fact or note tries again."""
        while self._socket is not None and (self._half or self._sent < len(self._facts)):
            line = self._half or self._facts[self._sent]
            try:
                taken = self._socket.send(line)
            except OSError:
                return  # full, or control is dying: its exit brings a new connection
            if not self._half:
                self._sent += 1
            self._half = line[taken:]

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(LINE_BYTES)
        except OSError:
            data = b""
        if not data or len(self._rest) > LINE_BYTES:
            self.disconnect()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._heard(line)

    def _heard(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return
        match message:
            case {"type": "ready"}:
                self._ready()
            case {"type": "noted", "count": int(count)}:
                for _ in range(min(count - self._noted, self._sent)):
                    self._facts.popleft()
                    self._sent -= 1
                self._noted = max(self._noted, count)
                self._send()


class Process:
    """Started by `start`, again by whoever sees that `restart_at` has come; its end is noticed through the selector."""

    def __init__(
        self,
        spec: Spec,
        argv: list[str],
        alive_fd: int,
        selector: selectors.BaseSelector,
        output: Output,
        monotonic: Callable[[], float],
        reports: Reports,
    ) -> None:
        self.spec = spec
        self.restart_at: float | None = None
        """When to start it again; None while it runs or is stopped for good."""
        self._argv = argv
        self._alive_fd = alive_fd
        self._selector = selector
        self._output = output
        self._now = monotonic
        self._reports = reports
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = Lines(spec.name, output)
        self._started = 0.0
        self._wanted = True

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self.restart_at = None
        self._started = self._now()
        report = self._reports.connect() if self.spec.name == "control" else None
        argv, fds = list(self._argv), [self._alive_fd, *self.spec.fds]
        if report is not None:
            argv += ["--report-fd", str(report.fileno())]
            fds.append(report.fileno())
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            process_group=0,  # Ctrl-C is for us alone: we stop the others in order
            env={**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"},
        )
        if report is not None:
            report.close()
        self._watch(self._process)
        self._reports.tell(ProcessStarted(process=self.spec.name, pid=self._process.pid))

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, self._read)
        pidfd = os.pidfd_open(process.pid)
        self._selector.register(pidfd, selectors.EVENT_READ, lambda: self._exited(pidfd))

    def stop(self) -> None:
        """For good: no restart after this."""
        self._wanted = False
        self.restart_at = None
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._wanted = self._wanted and number != signal.SIGKILL
            self._process.send_signal(number)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), LINE_BYTES)
        except BlockingIOError:
            return
        if data:
            self._lines.feed(data)
        else:
            self._selector.unregister(self._process.stdout)

    def _exited(self, pidfd: int) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        self._selector.unregister(pidfd)
        os.close(pidfd)
        code = process.wait()
        while process.stdout in self._selector.get_map() and can_read(process.stdout.fileno()):
            self._read()
        if process.stdout in self._selector.get_map():
            self._selector.unregister(process.stdout)  # a grandchild holds it open; not our output any more
        process.stdout.close()
        self._lines.end()
        self._process = None
        self._settle(process.pid, code)

    def _settle(self, pid: int, code: int) -> None:
        now = self._now()
        up_for = now - self._started
        status = f"signal {-code}" if code < 0 else f"exit {code}"
        if self.spec.name == "control":
            self._reports.finish()
        self._reports.tell(ProcessExited(process=self.spec.name, pid=pid, status=status, up_for=up_for))
        if not self._wanted:
            return
        delay = self._backoff.exited(up_for)
        self.restart_at = now + delay
        when = f"in {delay:g} s" if delay else "now"
        self._output.say(f"{self.spec.name} (pid {pid}) ended after {up_for:.1f} s with {status}; starts again {when}.")


def can_read(fd: int) -> bool:
    """Whether a read of this descriptor has something to give (data or its end) at once."""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(0))


def _python_path() -> str:
    """Children find the same code as we do, wherever they are started from."""
    here = str(Path(__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH", "")
    return f"{here}{os.pathsep}{before}" if before else here
