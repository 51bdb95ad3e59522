"""The media process alone: bridged and recorded calls set up over its UNIX socket, without SIP, journal or tables."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.hotline import FIRST_PORT, LAST_PORT
from bench.measure import LOAD_CORE, SERVER_CORE, usage
from bench.report import Figure, progress
from bench.rtpgen import RtpGenerator, quality
from engine.media.client import PlaneClient, connect
from engine.media.plane import Codec, Remote

STEPS = (800, 1000, 1200, 1400, 1600)
WINDOW = 10.0


async def connected(path: Path) -> PlaneClient:
    """As soon as the media process listens."""
    for _ in range(200):
        try:
            return await connect(str(path), events=lambda _event: None)
        except OSError:
            await asyncio.sleep(0.05)
    raise RuntimeError("the media process does not listen")


async def _add(plane: PlaneClient, generator: RtpGenerator, n: int) -> None:
    """Call number n: two ports, bridged and recorded, each with its stream."""
    ports = []
    for side in (0, 1):
        port, rtp_port = await plane.open("127.0.0.1")
        remote = Remote(host="127.0.0.1", port=generator.ports[side], codec=Codec.PCMU, payload_type=0, dtmf_type=101)
        plane.connect(port, remote)
        generator.add(2 * n + side, side, ("127.0.0.1", rtp_port), 1 - side)
        ports.append(port)
    plane.bridge(ports[0], ports[1])
    plane.record(ports[0], ports[1], f"bench/{n}.wav")


async def _climb(folder: Path, steps: tuple[int, ...], repeats: int, window: float) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "engine.media.server", "--socket", str(folder / "m"), "--name", "m0"]
    command += ["--ports", f"{FIRST_PORT}-{LAST_PORT}", "--recordings", str(folder / "recordings")]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    generator = await RtpGenerator.start(sockets=2, core=LOAD_CORE)
    plane = await connected(folder / "m")
    idle, made, runs = usage(process.pid), 0, []
    try:
        for calls in steps:
            for n in range(made, calls):
                await _add(plane, generator, n)
            made = calls
            await asyncio.sleep(2.0)
            tries = [await _measure(process.pid, idle.pss, generator, calls, window) for _ in range(repeats)]
            runs += tries
            progress(f"  {calls}: {[run['fault'] or 'good' for run in tries]}, p99 {tries[-1]['delay_ms']['p99']} ms")
            if any(run["fault"] for run in tries):
                break
    finally:
        await plane.aclose()
        process.terminate()
        await process.wait()
        await generator.stop()
    return runs


async def _measure(pid: int, idle: int, generator: RtpGenerator, calls: int, window: float) -> dict[str, Any]:
    before = usage(pid)
    report = await generator.measure(window)
    after = usage(pid)
    return {
        "step": calls,
        "fault": quality(report),
        "loss": report["loss"],
        "delay_ms": report["delay_ms"],
        "cpu_ms_per_second_per_call": round((after.cpu - before.cpu) * 1000 / (report["seconds"] + 0.5) / calls, 4),
        "memory_kb_per_call": round((after.pss - idle) / calls, 2),
        "report": report,
    }


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("the media process alone")
    steps, window = ((200, 400), 3.0) if quick else (STEPS, WINDOW)
    folder = Path(tempfile.mkdtemp(prefix="cw-plane-"))
    try:
        runs = await _climb(folder, steps, repeats, window)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bad = min((run["step"] for run in runs if run["fault"]), default=steps[-1] + 1)
    best = max((step for step in steps if step < bad), default=0)
    at_best = [run for run in runs if run["step"] == best]
    calls = Figure("plane_bridged_recorded_calls", "calls", 1000.0, "higher", conditions, runs, float(best))
    memory = Figure("plane_memory_per_call", "KB", 50.0, "lower", conditions | {"calls": best}, at_best)
    return [calls, memory.settle("memory_kb_per_call") if at_best else memory]
