"""A process for the supervisor's tests: does what its arguments say, in order, and ends.

say TEXT       print a line
ready          tell the supervisor that calls are answered (needs --report-fd)
facts N        print the next N facts from the report socket, and note them
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
    def __init__(self, report: socket.socket | None) -> None:
        self._report = report
        self._lines: IO[bytes] | None = report.makefile("rb") if report else None
        self._noted = 0

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

    def once(self, path: Path) -> None:
        if not path.exists():
            path.touch()
            sys.exit(1)

    def deaf(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGTERM))
        self.ready()
        while True:
            signal.pause()

    def act(self, word: str, rest: Iterator[str]) -> None:
        match word:
            case "say":
                say(next(rest))
            case "ready":
                self.ready()
            case "facts":
                self.facts(int(next(rest)))
            case "once":
                self.once(Path(next(rest)))
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
    report = None
    if "--report-fd" in words:
        at = words.index("--report-fd")
        report = socket.socket(fileno=int(words[at + 1]))
        words = words[:at]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child, rest = Child(report), iter(words)
    for word in rest:
        child.act(word, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
