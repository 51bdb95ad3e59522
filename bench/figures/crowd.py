"""How long a phone's registration takes beside 500 idle and 200 slow clients on TCP and TLS, all from one address."""

import asyncio
from time import monotonic
from typing import Any

from bench.measure import SERVER_CORE
from bench.report import Figure, progress
from tests.support.crowd import IDLE, SLOW, Crowd
from tests.support.secure_site import SecureSite, secure_site

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
SECONDS = 12.0
"""Of one run: longer than a client that says nothing may stay."""


def _registrations(hotline: SecureSite, seconds: float) -> list[float]:
    """Seconds that each took, connection and TLS handshake included."""
    took = []
    until = monotonic() + seconds
    while monotonic() < until:
        for transport in TRANSPORTS:
            begun = monotonic()
            with hotline.phone(transport, "ben") as phone:
                phone.register()
            took.append(monotonic() - begun)
    return took


def _run(quick: bool) -> dict[str, Any]:
    with secure_site(core=SERVER_CORE) as hotline, Crowd([hotline.at["tcp", 4], hotline.at["tls", 4]]) as crowd:
        took = _registrations(hotline, 2.0 if quick else SECONDS)
    return {"fault": "", "registrations": len(took), "dropped": crowd.dropped, "seconds": round(max(took), 4)}


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("registrations beside idle and slow clients")
    more = {"idle": IDLE, "slow": SLOW}
    figure = Figure("slowest_registration_in_a_crowd", "s", 1.0, "lower", conditions | more)
    for _ in range(repeats):
        figure.runs.append(await asyncio.to_thread(_run, quick))
    return [figure.settle("seconds")]
