"""The words of routing: queues and agents as configured, what the router is told, what it decides.

All times are `now` of one monotonic clock, in seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from events.types import QueueExit
from kernel.ids import AgentName, CallId, QueueName

PRIORITY_SECONDS = 60.0
"""One step of priority is worth this much waiting: a call of priority 2 is served as if it had come two minutes
earlier. A head start is finite, so no call starves whatever comes after it."""
PRIORITY_LIMIT = 100
"""Priorities beyond ±this are cut to it."""
LEVEL_MAX = 10
"""Skill levels are 1 (learning) to 10 (expert)."""


class Strategy(StrEnum):
    """Which of the free agents that have all required skills takes the call."""

    LONGEST_IDLE = "longest_idle"
    BEST_SKILL = "best_skill"
    """Highest sum of levels over the required skills, then longest idle."""
    SPARE_EXPERTS = "spare_experts"
    """Lowest sum of levels that still suffices, then longest idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue as configured. Durations in seconds."""

    name: QueueName
    label: str = ""
    """For people: on the agent's phone when the flow set no `choice`. "": the name."""
    skills: Mapping[str, int] = field(default_factory=dict)
    """Required skill -> lowest level; an enqueue may add to it or raise it."""
    priority: int = 0
    """Added to the priority given at enqueue."""
    strategy: Strategy = Strategy.LONGEST_IDLE
    ring_for: float = 20.0
    wrap_up: float = 10.0
    """After-call work, unless the agent's profile says otherwise. 0: none."""
    max_wait: float = math.inf
    """Then the call flows out (timeout); a phone that rings at that moment may ring to its end first."""
    max_calls: int = 1000
    """Waiting and ringing calls; one more flows out at once (full)."""
    wait_unstaffed: bool = False
    """True: calls wait even when no agent who could take them is logged in with a live phone.
    False: they flow out (no_agents), new ones at once, waiting ones after `unstaffed_grace`."""
    unstaffed_grace: float = 15.0
    """A phone that registers anew, or a shift that changes, must not throw out the callers."""
    announce_first: float | None = 5.0
    """Position and wait are told this long after entry, unless a phone rings then. None: never."""
    announce_every: float = 45.0
    """… and again at this interval. 0: only the first."""
    music: str = ""
    """Clip looped while waiting; "": silence."""
    exit_keys: str = ""
    """Any of these keys leaves the queue (key)."""
    overflow_after: float = math.inf
    """After so long here, or at once when this queue is unstaffed at entry, …"""
    overflow_queues: tuple[QueueName, ...] = ()
    """… agents of these queues may take the call too (it keeps its queue and its place)."""
    record: bool = True
    service_level: float = 20.0
    """Threshold for reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """An agent as configured."""

    name: AgentName
    aor: str = ""
    """User part of the address that the agent's phone registers: `8001`; "": the agent has none."""
    phone: str = ""
    """Number of an ordinary telephone (E.164), rung when no phone of `aor` is registered; "": none."""
    trunks: tuple[str, ...] = ()
    """Through which that is called, best first."""
    display: str = ""
    skills: Mapping[str, int] = field(default_factory=dict)
    """Skill -> level 1…10."""
    queues: frozenset[QueueName] | None = None
    """None: every queue whose skills the agent has."""
    wrap_up: float | None = None
    """None: as the queue says."""
    pickup: frozenset[str] = frozenset()
    """Groups; a call that rings at one of a group may be picked up by the others of it."""
    not_ready_reasons: Mapping[str, str] = field(default_factory=dict)
    """Key -> reason, for feature code *14: `*141`. When not empty, no other reasons are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A call that asks for an agent."""

    call: CallId
    queue: QueueName
    skills: Mapping[str, int] = field(default_factory=dict)
    """What is required besides the queue's own: skill -> lowest level."""
    priority: int = 0
    queued_at: float = 0.0

    @property
    def rank(self) -> tuple[float, float, CallId]:
        """Smaller is served first: time of entry less the head start of priority, then entry, then id."""
        priority = max(-PRIORITY_LIMIT, min(PRIORITY_LIMIT, self.priority))
        return (self.queued_at - priority * PRIORITY_SECONDS, self.queued_at, self.call)


def requirements(queue: Queue, skills: Mapping[str, int]) -> dict[str, int]:
    """The queue's skills and the call's together, the higher level of each."""
    need = dict(queue.skills)
    for skill, level in skills.items():
        need[skill] = max(level, need.get(skill, 0))
    return need


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """An agent who waits for a call."""

    profile: AgentProfile
    since: float


# --- what the router is told ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallEnters:
    waiting: Waiting
    agent: AgentName | None = None
    """Whose phone rings for it already: they are reserved for each other, without an Offer. The agent must be taken.
    Of a call that goes on after the death of a process."""


@dataclass(frozen=True, slots=True)
class CallLeaves:
    """The caller hung up or pressed an exit key. An agent whose phone rang for it is taken until AgentFree."""

    call: CallId


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent to whom the call was offered took it."""

    call: CallId


@dataclass(frozen=True, slots=True)
class Missed:
    """The agent did not take it: the call keeps its place, the agent is taken until AgentFree."""

    call: CallId


@dataclass(frozen=True, slots=True)
class AgentFree:
    """Ready for a call; `since` decides who is longest idle, and may lie in the past."""

    agent: AgentName
    since: float


@dataclass(frozen=True, slots=True)
class AgentTaken:
    """Staffs the queues but takes no call now. `working`: on a call or wrapping up, so back in a while."""

    agent: AgentName
    working: bool


@dataclass(frozen=True, slots=True)
class AgentOut:
    """Logged out, or the phone is gone."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class Handled:
    """A call of this queue took an agent this long, wrap-up included."""

    queue: QueueName
    seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has come to `deadline`."""


RouterEvent = CallEnters | CallLeaves | Answered | Missed | AgentFree | AgentTaken | AgentOut | Handled | Tick


# --- what the router decides ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admit:
    """The call is in its queue, at this position (1 is next). Always the first decision about a call."""

    call: CallId
    position: int


@dataclass(frozen=True, slots=True)
class Offer:
    """Ring this agent for this call. Both are reserved for each other until told how it ended."""

    call: CallId
    agent: AgentName
    ring_for: float


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Stop ringing: the agent went away while the phone rang. The call has its place again."""

    call: CallId
    agent: AgentName


@dataclass(frozen=True, slots=True)
class Announce:
    call: CallId
    position: int
    wait: float
    """Expected, seconds; -1: not known."""


@dataclass(frozen=True, slots=True)
class FlowOut:
    """The call has left the queue."""

    call: CallId
    why: QueueExit
    position: int


Decision = Admit | Offer | Withdraw | Announce | FlowOut
