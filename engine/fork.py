"""Ringing all the phones that one address of record has registered: the first to answer wins."""

import asyncio
from collections.abc import Callable, Sequence

from engine.call import Dial, Dialled, DialOutcome
from engine.phone_leg import PhoneLeg
from engine.sip.registrar import Binding

FORKS_LIMIT = 4
"""Phones rung at once for one agent."""

_OUTCOMES = {
    200: DialOutcome.DECLINED,
    486: DialOutcome.BUSY,
    600: DialOutcome.BUSY,
    603: DialOutcome.DECLINED,
    403: DialOutcome.DECLINED,
    487: DialOutcome.NO_ANSWER,
    404: DialOutcome.UNREACHABLE,
    408: DialOutcome.UNREACHABLE,
    410: DialOutcome.UNREACHABLE,
    430: DialOutcome.UNREACHABLE,
    480: DialOutcome.UNREACHABLE,
    481: DialOutcome.UNREACHABLE,
    503: DialOutcome.UNREACHABLE,
}
"""Final status → outcome; what is not here is FAILED. 200: taken up and put down again at once."""
_RANK = (DialOutcome.DECLINED, DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED, DialOutcome.UNREACHABLE)
"""Of several refusals, the one that says most of the person."""


def outcome_of(sip_status: int) -> DialOutcome:
    """What a final status means for whoever dialled and has no leg to talk to."""
    return _OUTCOMES.get(sip_status, DialOutcome.FAILED)


async def ring(
    legs: Sequence[PhoneLeg], caller: str, first_codec: str, order: Dial, monotonic: Callable[[], float]
) -> Dialled:
    """Ring until one answers, all refuse, or `order.ring_for` is over. All other legs are hung up, whatever happens."""
    began = monotonic()
    display = f"{caller} {order.display}".strip()
    winner: PhoneLeg | None = None
    why = "withdrawn"
    try:
        for leg in legs:
            await leg.invite(caller, display, order.ring_for, first_codec)
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


async def _first_answer(legs: Sequence[PhoneLeg], until: float, monotonic: Callable[[], float]) -> PhoneLeg | None:
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
