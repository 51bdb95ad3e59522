"""What SRTP costs: CPU of a bridged and recorded call with one or both legs encrypted, as a ratio to plain RTP.

The generator speaks plain RTP, so calls are measured in pairs: generator, call A, call B, generator. Between A and B
the media process talks to itself over loopback sockets, plain or encrypted; the difference is one SRTP leg for each
call.
"""

import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.figures.plane import connected
from bench.hotline import FIRST_PORT, LAST_PORT
from bench.measure import LOAD_CORE, SERVER_CORE, usage
from bench.report import Figure, progress
from bench.rtpgen import RtpGenerator, quality
from bench.stats import median
from engine.media.client import PlaneClient
from engine.media.plane import Codec, Remote, Srtp, SrtpSuite

PAIRS, WINDOW = 200, 6.0
PLAIN = "RTP"


def _remote(port: int, srtp: Srtp | None = None) -> Remote:
    return Remote(host="127.0.0.1", port=port, codec=Codec.PCMU, payload_type=0, dtmf_type=101, srtp=srtp)


def _keys(suite: str, chance: random.Random) -> tuple[Srtp | None, Srtp | None]:
    """Of both ends of one encrypted link."""
    if suite == PLAIN:
        return None, None
    kind = SrtpSuite(suite)
    one, two = (chance.randbytes(kind.key_octets) for _ in range(2))
    return Srtp(suite=kind, local_key=one, remote_key=two), Srtp(suite=kind, local_key=two, remote_key=one)


async def _add(plane: PlaneClient, generator: RtpGenerator, n: int, suite: str, chance: random.Random) -> None:
    opened = [await plane.open("127.0.0.1") for _ in range(4)]
    (a, at_a), (b, at_b), (c, at_c), (d, at_d) = opened
    left, right = _keys(suite, chance)
    plane.connect(a, _remote(generator.ports[0]))
    plane.connect(b, _remote(at_c, left))
    plane.connect(c, _remote(at_b, right))
    plane.connect(d, _remote(generator.ports[1]))
    for pair in ((a, b), (c, d)):
        plane.bridge(*pair)
        plane.record(*pair, f"bench/{n}-{pair[0]}.wav")
    generator.add(2 * n, 0, ("127.0.0.1", at_a), 1)
    generator.add(2 * n + 1, 1, ("127.0.0.1", at_d), 0)


async def _run(folder: Path, suite: str, pairs: int, window: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "engine.media.server", "--socket", str(folder / "m"), "--name", "m0"]
    command += ["--ports", f"{FIRST_PORT}-{LAST_PORT}", "--recordings", str(folder / "recordings")]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    generator = await RtpGenerator.start(sockets=2, core=LOAD_CORE)
    plane = await connected(folder / "m")
    chance, idle = random.Random(1), usage(process.pid)
    try:
        for n in range(pairs):
            await _add(plane, generator, n, suite, chance)
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
        "suite": suite,
        "calls": 2 * pairs,
        "fault": quality(report),
        "delay_ms": report["delay_ms"],
        "cpu_ms_per_second_per_call": (after.cpu - before.cpu) * 1000 / (report["seconds"] + 0.5) / (2 * pairs),
        "memory_kb_per_call": (after.pss - idle.pss) / (2 * pairs),
    }


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("SRTP beside RTP")
    pairs, window = (50, 2.0) if quick else (PAIRS, WINDOW)
    suites = (PLAIN, *SrtpSuite)
    runs: dict[str, list[dict[str, Any]]] = {suite: [] for suite in suites}
    for _ in range(repeats):
        for suite in suites:
            folder = Path(tempfile.mkdtemp(prefix="cw-srtp-"))
            try:
                runs[suite].append(await _run(folder, suite, pairs, window))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            progress(f"  {suite}: {runs[suite][-1]['cpu_ms_per_second_per_call']:.3f} ms/s a call")
    cost = {suite: median([run["cpu_ms_per_second_per_call"] for run in runs[suite]]) for suite in suites}
    return [
        Figure(
            f"srtp_cpu_ratio_{suite.lower()}_{legs}_leg{'s' * (legs > 1)}",
            "times plain RTP",
            1.0 + 0.5 * legs,
            "lower",
            conditions | {"plain_ms": cost[PLAIN]},
            runs[suite],
            1.0 + legs * (cost[suite] - cost[PLAIN]) / cost[PLAIN],
        )
        for suite in suites[1:]
        for legs in (1, 2)
    ]
