"""From `callwright serve` to the first answered call."""

from time import monotonic
from typing import Any

from bench.endpoint import Endpoint
from bench.hotline import IVR, hotline
from bench.phones import Callers, Plan
from bench.report import Figure, progress


async def figures(repeats: int, conditions: dict[str, Any], _quick: bool) -> list[Figure]:
    progress("start to first answered call")
    figure = Figure("start_to_first_answer", "s", 3.0, "lower", conditions)
    for _ in range(repeats):
        begun = monotonic()
        with hotline() as site:
            endpoint = Endpoint()
            outcome = await Callers(endpoint).call("13900000000", Plan(to=IVR, target=site.udp, talk=0.2))
            endpoint.close()
            figure.runs.append(
                {
                    "fault": outcome.failure,
                    "ready_seconds": round(site.started_in, 3),
                    "seconds": round(outcome.answered_at - begun, 3),
                }
            )
    return [figure.settle("seconds")]
