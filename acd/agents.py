"""An agent's state machine. Pure: time is an argument, and what came of a step is the event that says so.

    logged_out -> not_ready <-> ready -> offered -> on_call -> wrap_up -> ready

Whoever wants to be ready must have a registered phone. One rule covers every way to lose it: an agent who would be
ready but whose phone is gone is `not_ready (unreachable)`, and ready again when the phone registers. A command given
during a call is kept and takes effect when the call ends.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

import msgspec

from acd.routing.model import AgentProfile
from events.types import AgentState, AgentStateChanged, OfferResult
from kernel.ids import CallId

RONA = "rona"
UNREACHABLE = "unreachable"
LOGIN = "login"
RESTART = "restart"
PAUSES: dict[str, float] = {OfferResult.DECLINED: 10.0, OfferResult.BUSY: 5.0, OfferResult.FAILED: 15.0}
"""An agent who declined, whose phone was busy or failed is not_ready for so long and then ready again: the call goes to
others first, and a phone that always says no is not rung in a tight circle. The log shows it as any other state."""
RESERVED_REASONS = frozenset({RONA, UNREACHABLE, LOGIN, RESTART, *PAUSES})
"""Given by the ACD only: some of them end by themselves."""


class Command(StrEnum):
    LOGIN = "login"
    LOGOUT = "logout"
    READY = "ready"
    NOT_READY = "not_ready"


class In(Enum):
    LOGIN = auto()
    LOGOUT = auto()
    READY = auto()
    NOT_READY = auto()
    OFFER = auto()
    ANSWER = auto()
    DIRECT = auto()
    """A call that no queue offered: from a colleague, or passed on by one. Whoever takes up his phone talks."""
    MISS = auto()
    WITHDRAW = auto()
    RELEASE = auto()
    EXPIRE = auto()
    """Wrap-up or pause is over."""
    PHONE_GONE = auto()
    PHONE_BACK = auto()


class Do(Enum):
    KEEP = auto()
    """Remember the command for the end of the call; a later one replaces it."""
    FORGET = auto()
    """Drop what was remembered: the agent stays at work."""
    RETURN = auto()
    """Talk, and be back in this state, with its reason and what is left of its time, when the call ends."""
    CHANGE = auto()
    """From the one call to the other."""


S = AgentState
# fmt: off
TABLE: dict[tuple[AgentState, In], AgentState | Do] = {
    (S.LOGGED_OUT, In.DIRECT):     Do.RETURN,
    (S.NOT_READY,  In.DIRECT):     Do.RETURN,
    (S.WRAP_UP,    In.DIRECT):     Do.RETURN,
    (S.READY,      In.DIRECT):     S.ON_CALL,
    (S.OFFERED,    In.DIRECT):     S.ON_CALL,
    (S.ON_CALL,    In.DIRECT):     Do.CHANGE,
    (S.LOGGED_OUT, In.LOGIN):      S.NOT_READY,
    (S.LOGGED_OUT, In.READY):      S.READY,
    (S.LOGGED_OUT, In.NOT_READY):  S.NOT_READY,
    (S.NOT_READY,  In.LOGOUT):     S.LOGGED_OUT,
    (S.NOT_READY,  In.READY):      S.READY,
    (S.NOT_READY,  In.NOT_READY):  S.NOT_READY,   # another reason
    (S.NOT_READY,  In.EXPIRE):     S.READY,       # a pause is over
    (S.NOT_READY,  In.PHONE_BACK): S.READY,       # only from `unreachable`
    (S.READY,      In.LOGOUT):     S.LOGGED_OUT,
    (S.READY,      In.NOT_READY):  S.NOT_READY,
    (S.READY,      In.PHONE_GONE): S.NOT_READY,
    (S.READY,      In.OFFER):      S.OFFERED,
    (S.OFFERED,    In.LOGOUT):     S.LOGGED_OUT,
    (S.OFFERED,    In.NOT_READY):  S.NOT_READY,
    (S.OFFERED,    In.PHONE_GONE): S.NOT_READY,
    (S.OFFERED,    In.MISS):       S.NOT_READY,
    (S.OFFERED,    In.WITHDRAW):   S.READY,
    (S.OFFERED,    In.ANSWER):     S.ON_CALL,
    (S.ON_CALL,    In.LOGIN):      Do.FORGET,
    (S.ON_CALL,    In.READY):      Do.FORGET,
    (S.ON_CALL,    In.NOT_READY):  Do.KEEP,
    (S.ON_CALL,    In.LOGOUT):     Do.KEEP,
    (S.ON_CALL,    In.RELEASE):    S.WRAP_UP,
    (S.WRAP_UP,    In.EXPIRE):     S.READY,
    (S.WRAP_UP,    In.READY):      S.READY,
    (S.WRAP_UP,    In.NOT_READY):  S.NOT_READY,
    (S.WRAP_UP,    In.LOGOUT):     S.LOGGED_OUT,
}
# fmt: on
WITH_CALL = (S.OFFERED, S.ON_CALL, S.WRAP_UP)


@dataclass(frozen=True, slots=True)
class Kept:
    state: AgentState
    reason: str
    via: str
    lasts: float | None = None
    """Seconds, of a state that ends by itself."""


class AgentPlace(msgspec.Struct, omit_defaults=True):
    """An Agent as it is saved. Times are monotonic seconds."""

    state: AgentState
    since: float
    idle_since: float
    reason: str = ""
    until: float | None = None
    call: CallId | None = None
    kept: Kept | None = None
    ways: list[str] = []
    """By which the agent can be reached: see roster.py."""


class Agent:
    """One agent. `idle_since` decides who is longest idle; a caller who hangs up while it rings does not reset it."""

    __slots__ = ("call", "idle_since", "kept", "profile", "reason", "registered", "since", "state", "until")

    def __init__(self, profile: AgentProfile, now: float = 0.0) -> None:
        self.profile = profile
        self.state = S.LOGGED_OUT
        self.reason = ""
        self.since = now
        """When this state began."""
        self.until: float | None = None
        """When it ends by itself (wrap-up, pause)."""
        self.call: CallId | None = None
        self.registered = False
        self.idle_since = 0.0
        self.kept: Kept | None = None

    def step(
        self,
        what: In,
        now: float,
        *,
        reason: str = "",
        via: str = "acd",
        call: CallId | None = None,
        lasts: float | None = None,
    ) -> AgentStateChanged | None:
        """Take one input; None when it changes nothing. `lasts`: seconds of the wrap-up or pause that begins."""
        if what is In.PHONE_GONE or what is In.PHONE_BACK:
            self.registered = what is In.PHONE_BACK
            if what is In.PHONE_BACK and self.reason != UNREACHABLE:
                return None
            reason = UNREACHABLE if what is In.PHONE_GONE else ""
        target = TABLE.get((self.state, what))
        if target is None:
            return None
        if target is Do.RETURN or target is Do.CHANGE:
            return self._direct(now, call, back=target is Do.RETURN)
        if isinstance(target, Do):
            asked = S.LOGGED_OUT if what is In.LOGOUT else S.NOT_READY
            self.kept = Kept(asked, reason, via) if target is Do.KEEP else None
            return None
        if what is In.RELEASE and self.kept is not None:
            target, reason, via, lasts = self.kept.state, self.kept.reason, self.kept.via, self.kept.lasts
        elif target is S.WRAP_UP and not lasts:
            target = S.READY
        return self._enter(target, what, now, reason=reason, via=via, call=call, lasts=lasts)

    def _direct(self, now: float, call: CallId | None, *, back: bool) -> AgentStateChanged | None:
        kept = self.kept
        if back:
            left = None if self.until is None else max(self.until - now, 1.0)
            kept = Kept(self.state, self.reason, "acd", left)
        event = self._enter(S.ON_CALL, In.DIRECT, now, reason="", via="acd", call=call, lasts=None)
        self.kept = kept
        return event

    def _enter(
        self,
        state: AgentState,
        what: In,
        now: float,
        *,
        reason: str,
        via: str,
        call: CallId | None,
        lasts: float | None,
    ) -> AgentStateChanged | None:
        if state is S.READY and not self.registered:
            state, reason = S.NOT_READY, UNREACHABLE
        if state is S.NOT_READY is self.state and reason == self.reason:
            return None
        if state is S.READY and what is not In.WITHDRAW:
            self.idle_since = now
        call = call or self.call if state in WITH_CALL else None
        event = AgentStateChanged(
            agent=self.profile.name,
            state=state,
            previous=self.state,
            reason=reason if state is S.NOT_READY else "",
            via=via,
            call=call,
            lasted=round(now - self.since, 3),
        )
        self.state, self.reason, self.since, self.call = state, event.reason, now, call
        self.until = now + lasts if lasts and state in (S.WRAP_UP, S.NOT_READY) else None
        self.kept = None
        return event

    def place(self, ways: list[str]) -> AgentPlace:
        """For `resume`."""
        return AgentPlace(
            state=self.state,
            reason=self.reason,
            since=self.since,
            until=self.until,
            call=self.call,
            idle_since=self.idle_since,
            kept=self.kept,
            ways=ways,
        )

    def resume(self, place: AgentPlace) -> None:
        """Go on as before the death of the process."""
        self.state, self.reason, self.since, self.until = place.state, place.reason, place.since, place.until
        self.call, self.idle_since, self.kept = place.call, place.idle_since, place.kept
        self.registered = bool(place.ways)

    def restore(self, state: AgentState, reason: str, since: float, now: float) -> AgentStateChanged | None:
        """Take up the state that the log ends with. What only a running process could have ended (a call, a wrap-up, a
        pause) ends here: the event returned says that it became ready, or unreachable until its phone registers."""
        self.state, self.reason, self.since = state, reason, since
        if state is S.LOGGED_OUT or (state is S.NOT_READY and reason not in PAUSES and reason != UNREACHABLE):
            return None
        if state is S.READY and self.registered:
            self.idle_since = since
            return None
        return self._enter(S.READY, In.READY, now, reason=RESTART, via="acd", call=None, lasts=None)
