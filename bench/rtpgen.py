"""The RTP generator (native/rtpgen.c) as a child process.

python -m bench.rtpgen --streams 2000 --seconds 3     # what it can do alone: sockets of its own as the far end
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "native" / "rtpgen.c"
PROGRAM = Path(__file__).parent.parent / "build" / "bench" / "rtpgen"
GRACE = 0.5
"""Seconds for packets on their way when a window ends."""


def build() -> Path:
    """Compile when the source is newer than the program. Raises RuntimeError without a C compiler."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return PROGRAM
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("the RTP generator needs a C compiler: apt-get install gcc libc6-dev")
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    fresh = PROGRAM.with_suffix(".new")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(SOURCE)], check=True)
    fresh.replace(PROGRAM)
    return PROGRAM


class RtpGenerator:
    """Streams are numbered by the caller of `add`. `ports[k]` is the UDP port of socket k.

    A packet is expected back, unchanged in its payload, at the stream's `far` socket (-1: nowhere)."""

    def __init__(self, process: asyncio.subprocess.Process, host: str, ports: list[int]) -> None:
        self._process, self.host, self.ports = process, host, ports

    @classmethod
    async def start(cls, host: str = "127.0.0.1", sockets: int = 4, core: int | None = None) -> "RtpGenerator":
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(str(build()), host, str(sockets), stdin=pipe, stdout=pipe)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        with contextlib.suppress(PermissionError):  # beside other work it must still send in time
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        return cls(process, host, ready["ports"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def add(self, stream: int, socket: int, target: tuple[str, int], far: int) -> None:
        self._send(f"add {stream} {socket} {target[0]} {target[1]} {far}")

    def remove(self, stream: int) -> None:
        self._send(f"del {stream}")

    async def measure(self, seconds: float) -> dict[str, Any]:
        """What came of the packets sent in the next `seconds`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.drain()
        self._send("mark")
        await asyncio.sleep(seconds)
        self._send("end")
        await asyncio.sleep(GRACE)
        self._send("report")
        report: dict[str, Any] = json.loads(await self._process.stdout.readline())
        report["loss"] = report["lost"] / max(1, report["expected"])
        return report

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def quality(report: dict[str, Any], *, loss: float = 0.001, p99_ms: float = 5.0) -> str:
    """ "" when a measured window is good, else the first thing that was wrong with it."""
    generator = report["generator"]
    faults: Sequence[tuple[bool, str]] = (
        (generator["send_errors"] > 0, "the generator could not send"),
        (generator["receive_drops"] > 0, "the generator could not receive"),
        (generator["skipped_slots"] > 0, "the generator was late"),
        (report["measured"] == 0, "no stream was measured"),
        (report["silent_streams"] > 0, f"{report['silent_streams']} streams never arrived"),
        (report["astray"] > 0, f"{report['astray']} packets went to the wrong side"),
        (report["loss"] >= loss, f"loss {report['loss']:.4%}"),
        (report["delay_ms"]["p99"] >= p99_ms, f"p99 {report['delay_ms']['p99']} ms"),
    )
    return next((text for wrong, text in faults if wrong), "")


async def _alone(streams: int, seconds: float, core: int) -> dict[str, Any]:
    generator = await RtpGenerator.start(core=core)
    for n in range(streams):
        near, far = n % 4, (n + 1) % 4
        generator.add(n, near, ("127.0.0.1", generator.ports[far]), far)
    report = await generator.measure(seconds)
    await generator.stop()
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--core", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_alone(options.streams, options.seconds, options.core))))
