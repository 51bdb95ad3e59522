"""When there is more to do than can be done, refuse new calls at once, so that those in progress do not suffer.

Theory of operation. Ten times a second the shell says how loaded it is (`sample`). Each measure is divided by its
limit; the worst is the *pressure*. At 1 shedding begins, unless it is only that the processor is all taken: as long as
the loop is in time (IN_TIME) nobody waits, and calls cost less the more there are. New INVITEs pass a token bucket
whose rate is at first what was admitted lately, but not more than the *capacity*: calls admitted a second, divided by
the share of the processor that was taken meanwhile, averaged over longer than most of a call's work takes to come. Near
the limit that is exact; known from quieter times it is some way off, but it cuts a burst at once to about what can be
done.

From then on the rate is drawn up to the capacity, as it is learnt anew, and down to it unless the loop is in time. It
drifts beside that (`_drift`): up by what is left of the processor, down when nothing is left, faster down when the loop
is late; between them it does not (the hysteresis). All steps are small, since a call's work comes in the second after
its INVITE. A measure other than these two, at its limit, lets the rate fall at a fixed pace. Shedding ends when for
`CALM_FOR` seconds nothing was refused and nothing was at its limit, but for such a processor.

While `closed` says why, none is let in: what bounds us then is room, not speed.

Only INVITEs outside dialogs are ever refused. A refusal costs one look (sip/glimpse.py) and one datagram, no parse and
no transaction; the same INVITE again gets the same refusal (RFC 3261 §8.2.7).

Pure: `now` in, values out.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from events.types import CallsShed, Event, OverloadBegan, OverloadEnded

LEARNT_OVER = 12.0
"""Seconds over which the capacity is averaged."""
LEARNT_FROM = 0.15
"""Share of the processor below which calls say little about what they cost: too much else runs."""
FLOOR = 0.4
"""Of the capacity: lower the rate does not fall for lateness, else nothing is served while the loop catches up."""
IN_TIME = 0.75
"""Share of the loop's limit of lateness below which a processor that is all taken does what it can, and none waits."""
HOLD_FROM = 0.95
"""Share of a measure's limit above which the rate rises no more."""
RISE, FASTEST_RISE = 0.5, 0.5
"""Share of the rate a second: for each share of the processor that is left to HOLD_FROM; and at most."""
FALL_FULL, FALL_LATE, FASTEST_FALL = 0.1, 0.15, 1.0
"""The same while the processor is all taken; for each limit that the loop is late; and at most."""
FALL_OTHER = 0.5
"""The same while another measure is at its limit."""
PULL = 3.0
"""Share a second of the way to the capacity that the rate goes while the loop is in time."""
HEADROOM = 1.3
"""The rate rises no further beyond what is really admitted."""
CALM_FOR = 3.0
BURST = 0.1
"""Seconds' worth of the rate that may come at once."""
LOWEST = 5.0
"""New calls a second that are let in whatever the pressure: without any, nothing would tell that it fell."""
AVERAGED_OVER = 0.6
"""Seconds over which admitted calls and the busy share are averaged."""
LAG_SAMPLES = 5
WAIT_LIMIT = 0.5
"""Seconds' worth of new calls that may wait for their turn."""
REFUSED_FOR = 5.0
"""Seconds for which a refused INVITE is remembered: its retransmissions come within (T1, 2·T1, 4·T1 …)."""
PROMISED_FOR = 5.0
"""Seconds for which a place is kept for an INVITE that has not had its turn (it may never have: it must parse)."""
REFUSED_LIMIT = 20_000
TELL_EVERY = 1.0
RETRY_AFTER = (3, 10)
"""Shortest and longest Retry-After: spread, so that those refused do not come back all at once."""


class Load(NamedTuple):
    """How loaded we are. Each is compared with the field of the same name in Limits."""

    busy: float
    """Share of the time since the last sample in which the loop's thread ran or wanted to run (0 … 1)."""
    lag: float
    """Seconds: how late the loop was at worst. The median of LAG_SAMPLES counts: one stall, of a disk say, is over when
    we hear of it, and refusing calls for it would help nobody."""
    transactions: float
    """Share of the transaction table in use."""
    journal: float
    """Seconds that the oldest event has waited for its fsync."""
    media: float
    """Seconds: worst lateness of a media process's tick in its last report."""
    waiting: float = 0.0
    """New calls that have come and not had their turn. As many as take WAIT_LIMIT seconds, once we know how many that
    is, count as a loop at its limit of lateness, and at once: they are no stall that is over when we hear of it."""


class Limits(NamedTuple):
    """Pressure 1 of each measure."""

    busy: float = 0.98
    lag: float = 0.25
    transactions: float = 0.8
    journal: float = 5.0
    media: float = 0.02


@dataclass(slots=True)
class _Spell:
    """One time of overload."""

    began: float
    rate: float
    tokens: float
    refilled: float
    calm_since: float
    shed: int = 0


class _Capacity:
    """Calls a second that take the processor to its limit; infinity as long as that is not known."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._busy = self._calls = self._known_for = 0.0
        self.rate = float("inf")

    def learn(self, busy: float, calls: float, elapsed: float) -> None:
        """busy: share of the processor. calls: admitted a second."""
        self._known_for = min(self._known_for + elapsed, LEARNT_OVER)
        part = elapsed / self._known_for
        self._busy += (busy - self._busy) * part
        self._calls += (calls - self._calls) * part
        if self._busy >= LEARNT_FROM and self._calls > LOWEST:
            self.rate = self._limit * self._calls / self._busy


class Overload:
    """Lives beside the user agent; asked for every new INVITE."""

    def __init__(self, limits: Limits, emit: Callable[[Event], None]) -> None:
        self._limits = limits
        self._emit = emit
        self._spell: _Spell | None = None
        self._sampled = math.inf
        """When last. Before the first sample later than any, or one moment would count for all."""
        self._busy = 0.0
        self._admitted = 0
        self._admitted_rate = 0.0
        self._capacity = _Capacity(limits.busy)
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, LAG_SAMPLES)
        self._shed: Counter[str] = Counter()
        self._told = 0.0
        self._refused: dict[str, float] = {}
        self._promised: dict[str, float] = {}
        self.pressure = 0.0
        self._worst = 0.0
        self.closed = ""
        """Why nothing new is let in at all; "": by the rate alone."""

    @property
    def shedding(self) -> bool:
        return self._spell is not None

    @property
    def rate(self) -> float:
        """New calls a second let in; infinity without overload."""
        return self._spell.rate if self._spell else float("inf")

    def take_worst(self) -> float:
        """Highest pressure since the last call."""
        worst, self._worst = self._worst, self.pressure
        return worst

    # --- the controller ---------------------------------------------------------------------------------------------

    def sample(self, load: Load, now: float) -> None:
        """Measures taken since the last call; about every 0.1 s."""
        elapsed = min(max(now - self._sampled, 0.001), AVERAGED_OVER)
        self._sampled = now
        part = elapsed / AVERAGED_OVER
        self._busy += (load.busy - self._busy) * part
        self._admitted_rate += (self._admitted / elapsed - self._admitted_rate) * part
        self._lags.append(load.lag)
        ahead = load.waiting / self._capacity.rate / WAIT_LIMIT * self._limits.lag
        load = load._replace(busy=self._busy, lag=max(sorted(self._lags)[LAG_SAMPLES // 2], ahead))
        shares = {name: getattr(load, name) / limit for name, limit in self._limits._asdict().items()}
        cause = max(shares, key=shares.__getitem__)
        self.pressure = shares[cause]
        self._capacity.learn(self._busy, self._admitted / elapsed, elapsed)
        self._admitted = 0
        self._worst = max(self._worst, self.pressure)
        self._steer(cause, shares, elapsed, now)
        self._tell(now)

    def _steer(self, cause: str, shares: Mapping[str, float], elapsed: float, now: float) -> None:
        spell, hurt = self._spell, _hurt(shares)
        if spell is None:
            if hurt or self.closed:
                self._begin(self.closed or cause, now)
            return
        if self.closed:
            spell.calm_since = now
        drift = _drift(shares)
        floor = min(spell.rate, FLOOR * self._capacity.rate) if drift > -FALL_OTHER else 0.0
        ceiling = max(spell.rate, HEADROOM * self._admitted_rate + LOWEST)
        rate = spell.rate * (1.0 + drift * elapsed)
        if shares["lag"] < 1.0 and drift > -FALL_OTHER and self._capacity.rate < float("inf"):
            way = (self._capacity.rate - rate) * PULL * elapsed
            rate += max(way, 0.0) if shares["lag"] < IN_TIME else way
        spell.rate = max(LOWEST, floor, min(rate, ceiling))
        if hurt:
            spell.calm_since = now
        elif now - spell.calm_since >= CALM_FOR:
            self._end(now)

    def _begin(self, cause: str, now: float) -> None:
        rate = max(LOWEST, min(self._admitted_rate, self._capacity.rate))
        self._spell = _Spell(now, rate, 0.0, now, now)
        self._emit(OverloadBegan(cause=cause, pressure=round(self.pressure, 3)))

    def _end(self, now: float) -> None:
        assert self._spell is not None
        self._tell(now, last=True)
        self._emit(OverloadEnded(lasted=round(now - self._spell.began, 3), shed=self._spell.shed))
        self._spell = None
        self._refused.clear()
        self._promised.clear()

    def _tell(self, now: float, *, last: bool = False) -> None:
        if not self._shed or (now - self._told < TELL_EVERY and not last):
            return
        self._told = now
        for trunk, count in self._shed.items():
            self._emit(CallsShed(trunk=trunk, count=count, rate=round(min(self.rate, 1e6), 1)))
        self._shed.clear()

    # --- new calls --------------------------------------------------------------------------------------------------

    def admit(self, branch: str, trunk: str, now: float) -> bool:
        """Whether this new INVITE may become a call. trunk: whose it is, "" for a phone's."""
        if self.refuses(branch, trunk, now):
            return False
        self._promised.pop(branch, None)
        self._admitted += 1
        return True

    def refuses(self, branch: str, trunk: str, now: float) -> bool:
        """`admit` would say no, and this counts as that no. False is a promise: `admit` is to follow, and says yes.

        Else all of a burst, read before the first of it is admitted, would seem to have the same place."""
        spell = self._spell
        if spell is None or branch in self._promised:
            return False
        if branch in self._refused:
            return True
        spell.tokens = min(spell.tokens + (now - spell.refilled) * spell.rate, max(1.0, spell.rate * BURST))
        spell.refilled = now
        if spell.tokens >= 1.0 and not self.closed:
            spell.tokens -= 1.0
            _remember(self._promised, branch, now, PROMISED_FOR)
            return False
        self._refuse(spell, branch, trunk, now)
        return True

    def refused(self, branch: str) -> bool:
        """It was refused in the last seconds: an ACK with this branch is for that refusal."""
        return branch in self._refused

    def retry_after(self, branch: str) -> int:
        """Seconds, the same for the same INVITE."""
        low, high = RETRY_AFTER
        return low + sum(branch.encode(errors="replace")) % (high - low + 1)

    def _refuse(self, spell: _Spell, branch: str, trunk: str, now: float) -> None:
        spell.calm_since = now
        spell.shed += 1
        self._shed[trunk] += 1
        _remember(self._refused, branch, now, REFUSED_FOR)


def _remember(branches: dict[str, float], branch: str, now: float, seconds: float) -> None:
    """Until then, or until REFUSED_LIMIT newer ones have come."""
    while branches and (len(branches) >= REFUSED_LIMIT or next(iter(branches.values())) <= now):
        del branches[next(iter(branches))]
    branches[branch] = now + seconds


def _hurt(shares: Mapping[str, float]) -> bool:
    """Somebody waits for what can't be done in time."""
    full = shares["busy"] >= 1.0 and shares["lag"] >= IN_TIME
    return full or any(share >= 1.0 for name, share in shares.items() if name != "busy")


def _drift(shares: Mapping[str, float]) -> float:
    """Of the rate, as a share a second."""
    other = max(shares["transactions"], shares["journal"], shares["media"])
    if other >= 1.0:
        return -FALL_OTHER
    busy, late = shares["busy"], shares["lag"]
    if late >= 1.0:
        return -min(FALL_LATE * late, FASTEST_FALL)
    if busy >= 1.0:
        return -FALL_FULL
    worst = max(busy, late, other)
    return min(RISE * (HOLD_FROM - busy), FASTEST_RISE) if worst < HOLD_FROM else 0.0
