"""What the supervisor shows: the lines of all processes, each with the name of the one that wrote it.

Lines go to a log file that cannot grow without end, and to the terminal. A terminal (or a pipe) that does not take
them loses lines; it never stops the hotline.
"""

import os
import select
from collections.abc import Callable
from pathlib import Path

LOG_BYTES = 16 * 1024 * 1024
"""The log file is turned over at this size; one older file is kept."""
LINE_BYTES = 3500
"""A longer line is shown in pieces: below PIPE_BUF (4096), so that a write to a writable pipe never blocks."""


class Output:
    """log: path of the log file; screen: file descriptor of the terminal, usually 1."""

    def __init__(self, log: Path, screen: int) -> None:
        self._path = log
        self._screen = screen
        self.also: Callable[[str], None] = lambda _: None
        """Hears what is said, too."""
        self._log = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def line(self, name: str, text: bytes) -> None:
        """Show one line (without its end) of process `name`. Control characters do not reach the terminal."""
        clean = bytes(c if c >= 0x20 or c == 0x09 else 0x3F for c in text)
        for start in range(0, max(len(clean), 1), LINE_BYTES):
            self._write(b"%-8s | %s\n" % (name.encode(), clean[start : start + LINE_BYTES]))

    def say(self, text: str) -> None:
        """Words of the supervisor itself, for people, as they are."""
        self._write(text.encode() + b"\n")
        self.also(text)

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._log, data)
            if os.fstat(self._log).st_size >= LOG_BYTES:
                self._turn_over()
        except OSError:
            pass  # a full disk must not end the calls; the terminal still has the line
        try:
            if select.select([], [self._screen], [], 0)[1]:
                os.write(self._screen, data)
        except OSError:
            pass  # the terminal is gone (closed session); the log file has the line

    def _turn_over(self) -> None:
        os.close(self._log)
        self._path.replace(self._path.with_suffix(".log.1"))
        self._log = self._open()


class Lines:
    """Cuts what a process writes into lines, whatever pieces it comes in."""

    __slots__ = ("_name", "_output", "_rest")

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._output.line(self._name, line)
        if len(self._rest) >= LINE_BYTES:
            self.end()

    def end(self) -> None:
        """The process is gone, or its line too long to wait for: show what there is."""
        if self._rest:
            self._output.line(self._name, self._rest)
        self._rest = b""
