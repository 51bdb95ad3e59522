"""Ringing all the phones that one address of record has registered: the first to answer wins."""

import asyncio
from collections.abc import Callable, Sequence

from engine.call import Dial, Dialled, DialOutcome
from engine.outbound_leg import OutboundLeg
from engine.outcome import outcome_of
from engine.sip.registrar import Binding

FORKS_LIMIT = 4
"""Phones rung at once for one agent."""

_RANK = (DialOutcome.DECLINED, DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED, DialOutcome.UNREACHABLE)
"""Of several refusals, the one that says most of the person."""


async def ring(legs: Sequence[OutboundLeg], first_codec: str, order: Dial, monotonic: Callable[[], float]) -> Dialled:
    """Ring until one answers, all refuse, or `order.ring_for` is over. All other legs are hung up, whatever happens."""
    began = monotonic()
    winner: OutboundLeg | None = None
    why = "withdrawn"
    try:
        for leg in legs:
            if leg.invited:  # by a process before this one
                continue
            await leg.invite(order.ring_for, first_codec)
        winner = await _first_answer(legs, began + order.ring_for, monotonic)
        why = "no_answer" if winner is None else "answered_elsewhere"
    finally:
        for leg in legs:
            if leg is not winner:
                leg.hangup(why)
    rang = round(monotonic() - began, 3)
    if winner is not None:
        return Dialled(DialOutcome.ANSWERED, winner, 200, rang)
    status = min((leg.sip_status or 487 for leg in legs), key=lambda status: _RANK.index(outcome_of(status)))
    return Dialled(outcome_of(status), None, status, rang)


async def _first_answer(
    legs: Sequence[OutboundLeg], until: float, monotonic: Callable[[], float]
) -> OutboundLeg | None:
    """An answer in the very moment in which the time is over still counts."""
    while True:
        for leg in legs:
            if leg.talking:
                return leg
        pending = [leg.outcome for leg in legs if not leg.outcome.done()]
        within = until - monotonic()
        if not pending or within <= 0:
            return None
        await asyncio.wait(pending, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def best(bindings: Sequence[Binding]) -> Sequence[Binding]:
    """Which of an address's bindings to ring."""
    return bindings[:FORKS_LIMIT]
