"""Who may take which call, and who of several does: the rules of routing as plain functions.

`Router` decides the same things one event at a time, from indexes; `match` is its oracle in tests.
"""

from collections.abc import Iterable, Mapping

from acd.routing.model import AgentProfile, Idle, Queue, Strategy, Waiting
from kernel.ids import AgentName, CallId, QueueName


def eligible(agent: AgentProfile, queue: QueueName, skills: Mapping[str, int]) -> bool:
    """The agent serves the queue and has every required skill at its level or above."""
    if agent.queues is not None and queue not in agent.queues:
        return False
    have = agent.skills
    return all(have.get(skill, 0) >= level for skill, level in skills.items())


def preference(agent: AgentProfile, skills: Mapping[str, int], strategy: Strategy) -> int:
    """What comes before idle time when agents are compared; smaller is taken first."""
    if strategy is Strategy.LONGEST_IDLE:
        return 0
    level = sum(agent.skills.get(skill, 0) for skill in skills)
    return -level if strategy is Strategy.BEST_SKILL else level


def match(
    waiting: Iterable[Waiting], idle: Iterable[Idle], queues: Mapping[QueueName, Queue]
) -> dict[CallId, AgentName]:
    """Pair waiting calls with idle agents, best call first; each takes its best agent.

    Calls go by `Waiting.rank` (priority as a head start, then longest waiting); agents by the queue's strategy, then
    longest idle. Ties fall to the smaller id, so equal inputs give equal output in any input order.

    Cost: O(calls x agents). Raises KeyError for a queue that is not in `queues`.
    """
    free = {one.profile.name: one for one in idle}
    pairs: dict[CallId, AgentName] = {}
    for call in sorted(waiting, key=lambda call: call.rank):
        strategy = queues[call.queue].strategy
        able = [one for one in free.values() if eligible(one.profile, call.queue, call.skills)]
        if able:
            best = min(
                able, key=lambda one: (preference(one.profile, call.skills, strategy), one.since, one.profile.name)
            )
            pairs[call.call] = best.profile.name
            del free[best.profile.name]
    return pairs
