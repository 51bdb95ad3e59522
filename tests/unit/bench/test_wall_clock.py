"""A clock that jumps under a running program, and what must not jump with it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.faults.wall_clock import WallClock

HOUR, DECADE = 3600, 10 * 365 * 86_400
PROGRAM = """
import json, sys, threading, time

def now():
    return time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)

for line in sys.stdin:
    before = time.monotonic()
    threading.Event().wait(0.01)  # as if for a timer
    print(json.dumps([*now(), time.monotonic() - before]), flush=True)
"""


def test_only_the_wall_clock_jumps(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    words = [sys.executable, "-c", PROGRAM]
    environment = os.environ | clock.environment
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for seconds in (0, HOUR, -HOUR, DECADE, -DECADE, 0):
            clock.ahead(seconds)
            program.stdin.write("now\n")
            program.stdin.flush()
            wall, monotonic, boot, waited = json.loads(program.stdout.readline())
            assert abs(wall - time.time() - seconds) < 30.0
            assert abs(monotonic - time.monotonic()) < 30.0
            assert abs(boot - time.clock_gettime(time.CLOCK_BOOTTIME)) < 30.0
            assert 0.0 < waited < 30.0
        assert clock.rules(program.pid)
        assert not clock.rules(os.getpid())
        program.stdin.close()
