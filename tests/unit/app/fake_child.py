"""A process for the supervisor's tests: does what its arguments say, in order, and ends.

    say TEXT       print a line
    ready          tell the supervisor that calls are answered (needs --report-fd)
    facts N        print the next N facts from the report socket, and note them
    wait           wait for SIGTERM, then end with status 0
    deaf           ignore SIGTERM, then wait for ever
    exit STATUS    end
"""

import json
import signal
import socket
import sys


def main(words: list[str]) -> None:
    report = None
    if "--report-fd" in words:
        at = words.index("--report-fd")
        report = socket.socket(fileno=int(words[at + 1]))
        words = words[:at]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    todo = iter(words)
    for word in todo:
        match word:
            case "say":
                print(next(todo))
            case "ready":
                assert report is not None
                report.sendall(b'{"type":"ready"}\n')
            case "facts":
                assert report is not None
                print_facts(report, int(next(todo)))
            case "wait":
                signal.pause()
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                print("deaf now")
                while True:
                    signal.pause()
            case "exit":
                sys.exit(int(next(todo)))


def print_facts(report: socket.socket, count: int) -> None:
    with report.makefile("rb") as lines:
        for n in range(1, count + 1):
            fact = json.loads(lines.readline())
            print(fact["type"], fact["process"], fact.get("status", ""))
            report.sendall(b'{"type":"noted","count":%d}\n' % n)


if __name__ == "__main__":
    main(sys.argv[1:])
