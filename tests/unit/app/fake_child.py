"""A process for the supervisor's tests: does what its arguments say, in order, and ends.

say TEXT       print a line
ready          tell the supervisor that calls are answered (needs --report-fd)
beat           give one sign of life
drain N,N,…    wait for the order to drain, print it, then say that there are so many calls
facts N        print the next N facts from the report socket, and note them
spin FILE      an endless loop, unless FILE is there already
grow MB FILE   take so much memory, then make FILE, unless it is there already
once FILE      end with status 1, unless FILE is there already
wait           wait for SIGTERM, then end with status 0
deaf           ready, and SIGTERM does nothing
exit STATUS    end
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO


class Child:
    def __init__(self, report: socket.socket | None, beat_fd: int) -> None:
        self._report = report
        self._beat_fd = beat_fd
        self._lines: IO[bytes] | None = report.makefile("rb") if report else None
        self._noted = 0
        self._grown = b""

    def ready(self) -> None:
        assert self._report is not None
        self._report.sendall(b'{"type":"ready"}\n')

    def facts(self, count: int) -> None:
        assert self._report is not None
        assert self._lines is not None
        for _ in range(count):
            fact = json.loads(self._lines.readline())
            say(f"{fact['type']} {fact['process']} {fact.get('status', '')}")
            self._noted += 1
            self._report.sendall(b'{"type":"noted","count":%d}\n' % self._noted)

    def drain(self, counts: list[int]) -> None:
        """Wait for the order, and say the counts."""
        assert self._report is not None
        assert self._lines is not None
        while json.loads(line := self._lines.readline())["type"] != "drain":
            continue
        say(line.decode().strip())
        for count in counts:
            self._report.sendall(b'{"type":"left","calls":%d}\n' % count)

    def spin(self, path: Path) -> None:
        if not path.exists():
            path.touch()
            while True:
                pass

    def grow(self, megabytes: int, path: Path) -> None:
        if not path.exists():
            self._grown = b"x" * (megabytes << 20)
            path.touch()

    def once(self, path: Path) -> None:
        if not path.exists():
            path.touch()
            sys.exit(1)

    def deaf(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGTERM))
        self.ready()
        while True:
            signal.pause()

    def act(self, word: str, rest: Iterator[str]) -> None:  # noqa: C901 - one line for each word
        match word:
            case "say":
                say(next(rest))
            case "ready":
                self.ready()
            case "facts":
                self.facts(int(next(rest)))
            case "spin":
                self.spin(Path(next(rest)))
            case "grow":
                self.grow(int(next(rest)), Path(next(rest)))
            case "once":
                self.once(Path(next(rest)))
            case "beat":
                os.write(self._beat_fd, b".")
            case "drain":
                self.drain([int(count) for count in next(rest).split(",")])
            case "wait":
                signal.pause()
            case "deaf":
                self.deaf()
            case "exit":
                sys.exit(int(next(rest)))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: list[str]) -> None:
    at = words.index("--beat-fd")
    fds = dict(zip(words[at::2], words[at + 1 :: 2], strict=True))
    report = socket.socket(fileno=int(fds["--report-fd"])) if "--report-fd" in fds else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child, rest = Child(report, int(fds["--beat-fd"])), iter(words[:at])
    for word in rest:
        child.act(word, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
