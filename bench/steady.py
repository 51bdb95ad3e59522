"""The highest step that every repeat holds: what a server can be depended on for."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bench.report import progress

Run = dict[str, Any]
"""At least `fault`: "" for a good run, else what was wrong with it."""


async def dependable(
    steps: Sequence[float], repeats: int, attempt: Callable[[float], Awaitable[Run]]
) -> tuple[float, list[Run]]:
    """Climb `steps` (ascending) while `repeats` attempts in a row are good; 0.0 when even the first is not.

    Returns the highest good step and every run made, with its `step`."""
    best, runs = 0.0, []
    for step in steps:
        for number in range(repeats):
            run = await attempt(step)
            runs.append({"step": step, **run})
            progress(f"  {step:g}: run {number + 1}: {run['fault'] or 'good'}")
            if run["fault"]:
                return best, runs
        best = step
    return best, runs
