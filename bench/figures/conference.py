"""CPU of a conference of three (caller, agent, supervisor who listens) beside a bridged call's, neither recorded."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.figures.plane import connected
from bench.hotline import FIRST_PORT, LAST_PORT
from bench.measure import LOAD_CORE, SERVER_CORE, usage
from bench.report import Figure, progress
from bench.rtpgen import RtpGenerator
from bench.stats import median
from engine.media.client import PlaneClient
from engine.media.plane import Codec, PortId, Remote

TALKS, WINDOW = 300, 6.0


async def _port(plane: PlaneClient, generator: RtpGenerator, stream: int) -> PortId:
    port, number = await plane.open("127.0.0.1")
    remote = Remote(host="127.0.0.1", port=generator.ports[0], codec=Codec.PCMU, payload_type=0, dtmf_type=101)
    plane.connect(port, remote)
    generator.add(stream, 0, ("127.0.0.1", number), 0)
    return port


async def _add(plane: PlaneClient, generator: RtpGenerator, n: int, parties: int) -> None:
    ports = [await _port(plane, generator, parties * n + one) for one in range(parties)]
    if parties == 2:
        plane.bridge(ports[0], ports[1])
    else:
        caller, agent, _ = ports
        plane.mix(ports, [[agent], [caller], [caller, agent]])


async def _run(folder: Path, parties: int, talks: int, window: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "engine.media.server", "--socket", str(folder / "m"), "--name", "m0"]
    command += ["--ports", f"{FIRST_PORT}-{LAST_PORT}", "--recordings", str(folder / "recordings")]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    generator = await RtpGenerator.start(sockets=1, core=LOAD_CORE)
    plane = await connected(folder / "m")
    idle = usage(process.pid)
    try:
        for n in range(talks):
            await _add(plane, generator, n, parties)
        await asyncio.sleep(1.0)
        before = usage(process.pid)
        report = await generator.measure(window)
        after = usage(process.pid)
    finally:
        await plane.aclose()
        process.terminate()
        await process.wait()
        await generator.stop()
    return {
        "parties": parties,
        "talks": talks,
        "cpu_ms_per_second": (after.cpu - before.cpu) * 1000 / (report["seconds"] + 0.5) / talks,
        "memory_kb": (after.pss - idle.pss) / talks,
    }


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("conferences of three")
    talks, window = (50, 2.0) if quick else (TALKS, WINDOW)
    runs: dict[int, list[dict[str, Any]]] = {2: [], 3: []}
    for _ in range(repeats):
        for parties, found in runs.items():
            folder = Path(tempfile.mkdtemp(prefix="cw-mix-"))
            try:
                found.append(await _run(folder, parties, talks, window))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            progress(f"  {parties} parties: {found[-1]['cpu_ms_per_second']:.3f} ms/s")
    two, three = (median([run["cpu_ms_per_second"] for run in found]) for found in runs.values())
    return [
        Figure(
            "conference_of_three_cpu", "ms per second", 1.5, "lower", conditions | {"bridged_ms": two}, runs[3], three
        )
    ]
