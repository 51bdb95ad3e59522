"""The events of a stay in a queue, made from its state."""

from acd.routing.model import requirements
from acd.visit import Ringing, Visit
from events.types import (
    CallAbandoned,
    CallFlowedOut,
    CallOffered,
    CallQueued,
    OfferMissed,
    OfferResult,
    OfferWithdrawn,
    PositionAnnounced,
    QueueExit,
    Withdrawal,
)


def queued(visit: Visit, position: int) -> CallQueued:
    waiting = visit.waiting
    return CallQueued(
        call=waiting.call,
        queue=waiting.queue,
        skills=requirements(visit.queue, waiting.skills),
        priority=waiting.priority,
        position=position,
    )


def offered(visit: Visit, ringing: Ringing, ring_for: float) -> CallOffered:
    return CallOffered(
        call=visit.call.id,
        queue=visit.queue.name,
        agent=ringing.agent,
        offer=ringing.offer,
        ring_for=ring_for,
        waited=visit.waited(ringing.since),
    )


def missed(visit: Visit, ringing: Ringing, result: OfferResult, rang: float) -> OfferMissed:
    return OfferMissed(
        call=visit.call.id,
        queue=visit.queue.name,
        agent=ringing.agent,
        offer=ringing.offer,
        result=result,
        rang=round(rang, 3),
    )


def withdrawn(visit: Visit, ringing: Ringing, now: float, why: Withdrawal) -> OfferWithdrawn:
    return OfferWithdrawn(
        call=visit.call.id,
        queue=visit.queue.name,
        agent=ringing.agent,
        offer=ringing.offer,
        rang=round(now - ringing.since, 3),
        why=why,
    )


def announced(visit: Visit, position: int, wait: float) -> PositionAnnounced:
    return PositionAnnounced(
        call=visit.call.id, queue=visit.queue.name, position=position, wait_estimate=round(wait, 1)
    )


def flowed_out(visit: Visit, why: QueueExit, now: float) -> CallFlowedOut:
    return CallFlowedOut(call=visit.call.id, queue=visit.queue.name, why=why, waited=visit.waited(now))


def abandoned(visit: Visit, position: int, now: float) -> CallAbandoned:
    return CallAbandoned(call=visit.call.id, queue=visit.queue.name, waited=visit.waited(now), position=position)
