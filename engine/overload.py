"""When there is more to do than can be done, refuse new calls at once, so that those in progress do not suffer.

Theory of operation. Ten times a second the shell says how loaded it is (`sample`). Each measure is divided by its
limit; the worst is the *pressure*. At 1 shedding begins: new INVITEs pass a token bucket whose rate starts a little
below what was admitted lately, falls by a factor every 0.4 s as long as the pressure stays at or above 1 (the more
often in a row it had to), holds still just below 1, and rises under `RISE_BELOW`, in proportion to what is left to
there (as the occupancy algorithms of RFC 6357's family do), and slowly when it is near: a dead band is the hysteresis.
It ends when nothing needed to be refused for `CALM_FOR` seconds.

While `closed` says why, none is let in: what bounds us then is room, not speed.

Only INVITEs outside dialogs are ever refused. A refusal costs one parse and one datagram, no transaction; the same
INVITE again gets the same refusal (RFC 3261 §8.2.7).

Pure: `now` in, values out.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from events.types import CallsShed, Event, OverloadBegan, OverloadEnded

DECREASE_EVERY = 0.4
"""Seconds between two steps down: it takes that long to see what the last one did."""
RISE_BELOW = 0.92
RISE_SLOWEST, RISE_FASTEST = 0.03, 1.0
"""A second, of the rate. Between them: half of what is left up to RISE_BELOW, as the pressure tells."""
HEADROOM = 1.5
"""The rate rises no further beyond what is really admitted."""
PEAK_FADES = 0.05
"""A second: the highest admitted rate lately is what a stall of the whole machine is judged by."""
CALM_FOR = 3.0
BURST = 0.25
"""Seconds' worth of the rate that may come at once."""
LOWEST = 5.0
"""New calls a second that are let in whatever the pressure: without any, nothing would tell that it fell."""
AVERAGED_OVER = 0.6
"""Seconds over which admitted calls and the busy share are averaged."""
LAG_SAMPLES = 9
REFUSED_FOR = 5.0
"""Seconds for which a refused INVITE is remembered: its retransmissions come within (T1, 2·T1, 4·T1 …)."""
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


class Limits(NamedTuple):
    """Pressure 1 of each measure."""

    busy: float = 0.95
    lag: float = 0.15
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
    stepped: float
    calm_since: float
    steps: int = 1
    """Steps down without a pause: each is larger, since how far we are beyond what can be done cannot be seen."""
    shed: int = 0


class Overload:
    """Lives beside the user agent; asked for every new INVITE."""

    def __init__(self, limits: Limits, emit: Callable[[Event], None]) -> None:
        self._limits = limits
        self._emit = emit
        self._spell: _Spell | None = None
        self._sampled = 0.0
        self._busy = 0.0
        self._admitted = 0
        self._admitted_rate = 0.0
        self._peak = 0.0
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, LAG_SAMPLES)
        self._shed: Counter[str] = Counter()
        self._told = 0.0
        self._refused: dict[str, float] = {}
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
        load = load._replace(busy=self._busy, lag=sorted(self._lags)[LAG_SAMPLES // 2])
        self._peak = max(self._admitted_rate, self._peak * (1.0 - PEAK_FADES * elapsed))
        self._admitted = 0
        shares = [(value / limit, name) for name, value, limit in zip(Load._fields, load, self._limits, strict=True)]
        self.pressure, cause = max(shares)
        self._worst = max(self._worst, self.pressure)
        self._steer(cause, elapsed, now)
        self._tell(now)

    def _steer(self, cause: str, elapsed: float, now: float) -> None:
        spell = self._spell
        if spell is None:
            if self.pressure >= 1.0 or self.closed:
                self._begin(self.closed or cause, now)
            return
        if self.closed:
            spell.calm_since = now
        if self.pressure >= 1.0:
            spell.calm_since = now
            if now - spell.stepped >= DECREASE_EVERY:
                spell.stepped = now
                spell.rate = max(LOWEST, spell.rate * _fall(self.pressure, spell.steps))
                spell.steps += 1
            return
        if self.pressure < RISE_BELOW:
            spell.steps = 0
            self._rise(spell, elapsed)
        if now - spell.calm_since >= CALM_FOR:
            self._end(now)

    def _rise(self, spell: _Spell, elapsed: float) -> None:
        """By a share of the rate, as large as the pressure leaves room."""
        room = RISE_BELOW / max(self.pressure, 0.01) - 1.0
        share = min(max(room / 2.0, RISE_SLOWEST), RISE_FASTEST)
        ceiling = max(spell.rate, HEADROOM * self._admitted_rate + LOWEST)
        spell.rate = min(spell.rate * (1.0 + share * elapsed), ceiling)

    def _begin(self, cause: str, now: float) -> None:
        rate = max(LOWEST, self._peak * _fall(self.pressure, 0))
        self._spell = _Spell(now, rate, 0.0, now, now, now)
        self._emit(OverloadBegan(cause=cause, pressure=round(self.pressure, 3)))

    def _end(self, now: float) -> None:
        assert self._spell is not None
        self._tell(now, last=True)
        self._emit(OverloadEnded(lasted=round(now - self._spell.began, 3), shed=self._spell.shed))
        self._spell = None
        self._refused.clear()

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
        spell = self._spell
        if spell is not None:
            if branch in self._refused:
                return False
            spell.tokens = min(spell.tokens + (now - spell.refilled) * spell.rate, max(1.0, spell.rate * BURST))
            spell.refilled = now
            if spell.tokens < 1.0 or self.closed:
                self._refuse(spell, branch, trunk, now)
                return False
            spell.tokens -= 1.0
        self._admitted += 1
        return True

    def retry_after(self, branch: str) -> int:
        """Seconds, the same for the same INVITE."""
        low, high = RETRY_AFTER
        return low + sum(branch.encode(errors="replace")) % (high - low + 1)

    def _refuse(self, spell: _Spell, branch: str, trunk: str, now: float) -> None:
        spell.calm_since = now
        spell.shed += 1
        self._shed[trunk] += 1
        refused = self._refused
        while refused and (len(refused) >= REFUSED_LIMIT or next(iter(refused.values())) <= now):
            del refused[next(iter(refused))]
        refused[branch] = now + REFUSED_FOR


def _fall(pressure: float, steps: int) -> float:
    """Factor of one step down, the one after `steps` others."""
    return max(0.5, min(1.0 / max(pressure, 1.0), 0.92 - 0.1 * steps))
