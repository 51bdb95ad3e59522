"""Ask the log: who was free when this offer was made, and why was it made to him?"""

from collections.abc import Iterable, Mapping

from acd.routing.explain import Reason, Standing, explain
from acd.routing.model import AgentProfile, Queue, Waiting
from events.types import AgentState, AgentStateChanged, CallOffered, CallQueued, OfferWithdrawn, Recorded
from kernel.ids import AgentName, CallId, OfferId, QueueName


class NoSuchOffer(LookupError):
    """The log that was given does not have it."""


def explain_offer(
    records: Iterable[Recorded],
    offer: OfferId,
    agents: Mapping[AgentName, AgentProfile],
    queues: Mapping[QueueName, Queue],
) -> list[Reason]:
    """Fold the log up to the offer and judge all agents by the router's own rules (with today's configuration).

    Times are those of the log. Raises NoSuchOffer."""
    states: dict[AgentName, Standing] = {
        name: Standing(profile=profile, state=AgentState.LOGGED_OUT, since=0.0) for name, profile in agents.items()
    }
    idle: dict[AgentName, float] = {}
    withdrawn: set[AgentName] = set()
    calls: dict[CallId, Waiting] = {}
    for record in records:
        match record.event:
            case CallQueued() as event:
                calls[event.call] = Waiting(
                    call=event.call,
                    queue=event.queue,
                    skills=event.skills,
                    priority=event.priority,
                    queued_at=record.at,
                )
            case CallOffered() as event if event.offer == offer:
                return explain(calls[event.call], states.values(), queues, record.at)
            case OfferWithdrawn() as event:
                withdrawn.add(event.agent)
            case AgentStateChanged() as event if event.agent in agents:
                since = record.at
                if event.state is AgentState.READY:
                    if event.agent in withdrawn:  # a caller who hung up does not reset idle time
                        since = idle.get(event.agent, since)
                    idle[event.agent] = since
                withdrawn.discard(event.agent)
                states[event.agent] = Standing(
                    profile=agents[event.agent], state=event.state, reason=event.reason, since=since
                )
            case _:
                pass
    raise NoSuchOffer(offer)
