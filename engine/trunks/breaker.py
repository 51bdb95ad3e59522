"""Whether one target of a trunk is fit for calls: OPTIONS health and a circuit breaker in one machine. Pure.

Theory of operation. Whatever is heard from the target (any final response but 503) is proof of life; silence, a dead
connection and 503 are failures. So many failures in a row open the breaker: the target is down, and no call is given
to it. With OPTIONS (`every` > 0) a down target is asked on and is up with its first answer. Without, it gets a call on
trial each `RETRY` seconds. After a failure the next OPTIONS comes soon: a dead target is known within seconds, and a
restored one too.

A 503 with Retry-After is a wish that is granted (RFC 3261 §21.5.4), for RETRY_AFTER_MAX seconds at most.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

SOON: Final = 5.0
"""Seconds between OPTIONS while a target is in doubt or down, when that is less than `every`."""
PROBE_WITHIN: Final = 4.0
"""Seconds that an answer to OPTIONS may take."""
RETRY: Final = 30.0
"""Seconds after which a down target without OPTIONS may have a call on trial."""
RETRY_AFTER_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    every: float = 30.0
    """Seconds between two OPTIONS; 0: none are sent."""
    failures: int = 3
    """So many in a row, and the target is down."""


class Probe(NamedTuple):
    """Send OPTIONS."""


class Down(NamedTuple):
    why: str


class Up(NamedTuple):
    down_for: float


class State(Enum):
    UP = auto()
    DOUBTED = auto()
    """Up, but the last try failed."""
    DOWN = auto()


class Breaker:
    """chance: random, 0 ≤ chance < 1, spreads the first OPTIONS over the interval. down_since: as the log had it."""

    __slots__ = ("_failures", "_health", "_held_until", "_probe_at", "_probing_until", "_try_at", "since", "state")

    def __init__(self, health: Health, now: float, chance: float, down_since: float | None = None) -> None:
        self._health = health
        self.state = State.UP if down_since is None else State.DOWN
        self.since = now if down_since is None else down_since
        """When it came up or went down."""
        self._failures = 0
        self._held_until = now
        self._try_at = now
        self._probing_until: float | None = None
        spread = health.every * chance if down_since is None else 0.0
        self._probe_at: float | None = now + spread if health.every > 0 else None

    @property
    def up(self) -> bool:
        return self.state is not State.DOWN

    def usable(self, now: float) -> bool:
        """A call may be given to it now."""
        if now < self._held_until:
            return False
        return self.up or (self._health.every <= 0 and now >= self._try_at)

    def answered(self, now: float) -> Up | None:
        """A sign of life came."""
        self._failures = 0
        self._probing_until = None
        if self._probe_at is not None:
            self._probe_at = now + self._health.every
        before, self.state = self.state, State.UP
        if before is not State.DOWN:
            return None
        down_for, self.since = now - self.since, now
        return Up(down_for)

    def failed(self, now: float, why: str, retry_after: float = 0.0, *, certain: bool = False) -> Down | None:
        """It was silent, unreachable, or said 503 (retry_after: what that asked for). certain: the next try would fail
        as well, so one is enough."""
        self._failures += 1
        self._probing_until = None
        self._held_until = max(self._held_until, now + min(retry_after, RETRY_AFTER_MAX))
        self._try_at = now + RETRY
        if self._probe_at is not None:
            self._probe_at = min(self._probe_at, now + min(SOON, self._health.every))
        if self.state is State.DOWN:
            return None
        if self._failures < self._health.failures and not certain:
            self.state = State.DOUBTED
            return None
        self.state, self.since = State.DOWN, now
        return Down(why)

    def doubted(self, now: float) -> None:
        """Its connection broke: ask at once whether it is there."""
        if self._probe_at is not None:
            self._probe_at = min(self._probe_at, now)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._probing_until if self._probing_until is not None else self._probe_at

    def tick(self, now: float) -> list[Probe | Down]:
        """What is due. Calling it early or often does no harm."""
        if self._probing_until is not None:
            if now < self._probing_until:
                return []
            down = self.failed(now, "no answer to OPTIONS")
            return [down] if down is not None else []
        if self._probe_at is None or now < self._probe_at:
            return []
        self._probe_at = now + (self._health.every if self.state is State.UP else min(SOON, self._health.every))
        self._probing_until = now + PROBE_WITHIN
        return [Probe()]
