"""The router's indexes: pools (calls that ask for the same, and the agents who can give it) and seats.

Each pool keeps its waiting calls and its free agents in sorted lists, best first. `bisect` into a list of some
thousands costs 1-3 microseconds, most of it a memmove; there is nothing stale to skip and nothing to compact, so
the worst decision is near the mean.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from enum import Enum, auto

from acd.routing.match import eligible, preference
from acd.routing.model import AgentProfile, Queue, Waiting
from kernel.ids import AgentName, CallId

POOLS_MAX = 2000
"""Pools kept, empty ones included. Skills come from checked configuration, so this is a fuse, not a working limit."""

PoolKey = tuple[str, tuple[tuple[str, int], ...]]
CallRank = tuple[float, float, CallId]
AgentRank = tuple[int, float, AgentName]


class SeatState(Enum):
    OUT = auto()
    TAKEN = auto()
    FREE = auto()
    RESERVED = auto()


class Pool:
    """Calls of one queue with one set of requirements."""

    __slots__ = ("calls", "idle", "key", "queue", "skills", "staffed", "unstaffed_since", "waiting", "working")

    def __init__(self, key: PoolKey, queue: Queue, skills: Mapping[str, int]) -> None:
        self.key = key
        self.queue = queue
        self.skills = dict(skills)
        self.waiting: list[CallRank] = []
        self.idle: list[AgentRank] = []
        self.calls = 0
        """Waiting and ringing."""
        self.staffed = 0
        """Eligible seats that are not OUT."""
        self.working = 0
        """Of those, seats that are free, ringing, talking or wrapping up."""
        self.unstaffed_since = -math.inf


class Seat:
    """An agent as the router sees him. `pools` are those he is eligible for, with his preference in each."""

    __slots__ = ("call", "pools", "profile", "since", "state", "working")

    def __init__(self, profile: AgentProfile) -> None:
        self.profile = profile
        self.state = SeatState.OUT
        self.working = False
        self.since = 0.0
        self.call: CallId | None = None
        self.pools: list[tuple[Pool, int]] = []


class Place:
    """A call in its queue; `agent` while it rings there. Waiting, it stands in every pool of `pools`."""

    __slots__ = (
        "agent",
        "announce_at",
        "later",
        "leave_at",
        "overflow_at",
        "pools",
        "queue",
        "rank",
        "seeking",
        "waiting",
    )

    def __init__(self, waiting: Waiting, queue: Queue, pool: Pool, later: list[Pool]) -> None:
        self.waiting = waiting
        self.queue = queue
        self.pools = [pool]
        self.later = later
        """Pools of the overflow queues, until `overflow_at`."""
        self.rank: CallRank = waiting.rank
        self.agent: AgentName | None = None
        self.seeking = False
        """It stands in the waiting lists of its pools."""
        self.leave_at = waiting.queued_at + queue.max_wait
        self.overflow_at = waiting.queued_at + queue.overflow_after if later else math.inf
        self.announce_at = math.inf

    def widen(self) -> None:
        """From now on the overflow queues' agents count too."""
        self.pools += self.later
        self.later = []
        self.overflow_at = math.inf


def add(ranks: list[CallRank], rank: CallRank) -> None:
    insort(ranks, rank)


def remove(ranks: list[CallRank], rank: CallRank) -> None:
    """Raises ValueError when it is not there: the indexes would be wrong, and must not go on so."""
    index = bisect_left(ranks, rank)
    if index == len(ranks) or ranks[index] != rank:
        raise ValueError(f"{rank[2]} is not in this list")
    del ranks[index]


def position(ranks: list[CallRank], rank: CallRank) -> int:
    """1 for the first."""
    return bisect_left(ranks, rank) + 1


class Index:
    """All pools and seats, kept consistent with each other."""

    def __init__(self, agents: Mapping[AgentName, AgentProfile]) -> None:
        self.seats: dict[AgentName, Seat] = {name: Seat(profile) for name, profile in agents.items()}
        self.pools: dict[PoolKey, Pool] = {}

    def pool(self, queue: Queue, skills: Mapping[str, int]) -> Pool:
        """The pool for this requirement; O(agents) when it is new, O(1) after."""
        key = (queue.name, tuple(sorted(skills.items())))
        found = self.pools.get(key)
        return found if found is not None else self._open(key, queue, skills)

    def _open(self, key: PoolKey, queue: Queue, skills: Mapping[str, int]) -> Pool:
        if len(self.pools) >= POOLS_MAX:
            self._drop_empty()
        pool = self.pools[key] = Pool(key, queue, skills)
        for name, seat in self.seats.items():
            if not eligible(seat.profile, queue.name, skills):
                continue
            prefer = preference(seat.profile, skills, queue.strategy)
            seat.pools.append((pool, prefer))
            pool.staffed += seat.state is not SeatState.OUT
            pool.working += seat.working
            if seat.state is SeatState.FREE:
                pool.idle.append((prefer, seat.since, name))
        pool.idle.sort()
        return pool

    def _drop_empty(self) -> None:
        self.pools = {key: pool for key, pool in self.pools.items() if pool.calls}
        for seat in self.seats.values():
            seat.pools = [(pool, prefer) for pool, prefer in seat.pools if pool.key in self.pools]

    def free(self, name: AgentName, seat: Seat) -> None:
        """List the seat as idle in all its pools."""
        seat.state = SeatState.FREE
        for pool, prefer in seat.pools:
            insort(pool.idle, (prefer, seat.since, name))

    def unfree(self, name: AgentName, seat: Seat) -> None:
        """Take a FREE seat out of all idle lists; the caller sets the new state."""
        for pool, prefer in seat.pools:
            rank = (prefer, seat.since, name)
            index = bisect_left(pool.idle, rank)
            if index == len(pool.idle) or pool.idle[index] != rank:
                raise ValueError(f"{name} is not idle in {pool.key}")
            del pool.idle[index]
