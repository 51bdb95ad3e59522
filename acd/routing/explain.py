"""Why did this call go to that agent? Or why does it still wait? One verdict for every agent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from acd.routing.match import eligible, open_queues, preference
from acd.routing.model import AgentProfile, Queue, Waiting, requirements
from events.types import AgentState
from kernel.ids import AgentName, QueueName


class Verdict(StrEnum):
    """Best first."""

    CHOSEN = "chosen"
    OUTRANKED = "outranked"
    """Free and able, but another came first."""
    NOT_FREE = "not_free"
    LACKS_SKILL = "lacks_skill"
    OTHER_QUEUES = "other_queues"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an agent was doing at the moment in question."""

    profile: AgentProfile
    state: AgentState
    reason: str = ""
    since: float
    """When this state began."""


@dataclass(frozen=True, slots=True)
class Reason:
    agent: AgentName
    verdict: Verdict
    words: str


def explain(call: Waiting, agents: Iterable[Standing], queues: Mapping[QueueName, Queue], now: float) -> list[Reason]:
    """One reason an agent, the chosen first (none is, when the call waits), then by verdict and name.

    The same rules as the router's, from the same functions; cost O(agents x skills)."""
    everyone = list(agents)
    opened = open_queues(call, queues, now)
    for queue in opened:
        need = requirements(queue, call.skills)
        able = [one for one in everyone if one.state is AgentState.READY and eligible(one.profile, queue.name, need)]
        if able:
            break
    else:
        queue, need, able = opened[0], requirements(opened[0], call.skills), []
    ranked = sorted(able, key=lambda one: (preference(one.profile, need, queue.strategy), one.since, one.profile.name))
    places = {one.profile.name: place for place, one in enumerate(ranked)}
    reasons = [_reason(one, places.get(one.profile.name), queue, need, now) for one in everyone]
    order = list(Verdict)
    return sorted(reasons, key=lambda one: (order.index(one.verdict), places.get(one.agent, 0), one.agent))


def _reason(one: Standing, place: int | None, queue: Queue, need: Mapping[str, int], now: float) -> Reason:
    name = one.profile.name
    if place is not None:
        levels = ", ".join(f"{skill} {one.profile.skills.get(skill, 0)}" for skill in sorted(need)) or "none needed"
        verdict = Verdict.CHOSEN if place == 0 else Verdict.OUTRANKED
        words = f"number {place + 1} by {queue.strategy.value}: skills {levels}; idle {now - one.since:.1f} s"
        return Reason(name, verdict, words)
    if one.profile.queues is not None and queue.name not in one.profile.queues:
        return Reason(name, Verdict.OTHER_QUEUES, f"does not serve {queue.name}")
    short = {skill: level for skill, level in need.items() if one.profile.skills.get(skill, 0) < level}
    if short:
        words = ", ".join(
            f"{skill} {one.profile.skills.get(skill, 0)} of {level}" for skill, level in sorted(short.items())
        )
        return Reason(name, Verdict.LACKS_SKILL, words)
    reason = f" ({one.reason})" if one.reason else ""
    return Reason(name, Verdict.NOT_FREE, f"{one.state.value}{reason} for {now - one.since:.1f} s")
