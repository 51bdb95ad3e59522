"""Who may take which call, and who of several does: the rules of routing as plain functions.

`Router` decides the same things one event at a time, from indexes; `match` is its oracle in tests.
"""

from collections.abc import Iterable, Mapping

from acd.routing.model import AgentProfile, Idle, Queue, Strategy, Waiting, requirements
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


def open_queues(call: Waiting, queues: Mapping[QueueName, Queue], now: float) -> list[Queue]:
    """The queues whose agents may take the call now: its own, then those it overflows to."""
    own = queues[call.queue]
    if now < call.queued_at + own.overflow_after:
        return [own]
    return [own, *(queues[name] for name in own.overflow_queues)]


def match(
    waiting: Iterable[Waiting], idle: Iterable[Idle], queues: Mapping[QueueName, Queue], now: float
) -> dict[CallId, AgentName]:
    """Pair waiting calls with idle agents, best call first; each takes its best agent.

    Calls go by `Waiting.rank` (priority as a head start, then longest waiting); each looks at its own queue first,
    then at those it overflows to. Agents go by that queue's strategy, then longest idle. Ties fall to the smaller
    id, so equal inputs give equal output in any input order.

    Cost: O(calls x agents). Raises KeyError for a queue that is not in `queues`.
    """
    free = {one.profile.name: one for one in idle}
    pairs: dict[CallId, AgentName] = {}
    for call in sorted(waiting, key=lambda call: call.rank):
        for queue in open_queues(call, queues, now):
            best = best_agent(free.values(), queue, requirements(queue, call.skills))
            if best is not None:
                pairs[call.call] = best
                del free[best]
                break
    return pairs


def best_agent(idle: Iterable[Idle], queue: Queue, skills: Mapping[str, int]) -> AgentName | None:
    """The one of these agents who would take a call of this queue that needs these skills."""
    able = (one for one in idle if eligible(one.profile, queue.name, skills))
    ranks = ((preference(one.profile, skills, queue.strategy), one.since, one.profile.name) for one in able)
    return min(ranks, default=(0, 0.0, None))[2]
