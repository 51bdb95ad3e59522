"""Our registration with an operator (RFC 3261 §10.2, UAC): when to send REGISTER, and what its answer means. Pure.

    IDLE -> TRYING <-> PROVING -> REGISTERED -> TRYING … ; any failure -> WAITING -> TRYING

The shell sends what `Send` says and reports the answer by one of accepted, challenged, too_brief, failed. A refresh
goes out after 75 to 85 % of the granted time, so that one that fails can be repeated while the old one is still good.
Waits after failures double from RETRY_FIRST to RETRY_MAX and are cut by chance to 50 … 100 %, lest all of an
operator's customers come back in the same second.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

ANSWER_WITHIN: Final = 5.0
"""Seconds; a REGISTER without a final answer has then failed, and the next may go to another target."""
RETRY_FIRST: Final = 2.0
RETRY_MAX: Final = 300.0
REFUSED_RETRY: Final = 60.0
"""At least so long after a refusal: a wrong password does not come right by asking again."""
REFUSALS: Final = frozenset({401, 403, 404, 407})
EXPIRES_MAX: Final = 86_400
REFRESH_MIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Registering:
    expires: int = 600


class Send(NamedTuple):
    """Send REGISTER. attempt: failures so far in a row; each goes to the next target."""

    expires: int
    attempt: int
    proven: bool
    """With credentials, for the challenge that came."""


class Registered(NamedTuple):
    """Told for the first one and for one after a failure, not for a refresh."""

    expires: float
    failed_for: float


class Failed(NamedTuple):
    sip_status: int
    """0: no answer."""
    why: str
    retry_in: float
    failures: int


class State(Enum):
    IDLE = auto()
    TRYING = auto()
    PROVING = auto()
    """Credentials are out."""
    REGISTERED = auto()
    WAITING = auto()


Output = Send | Registered | Failed


class RegistrationClient:
    """One for a trunk. `start` it once; `stop` gives back the REGISTER that ends the binding."""

    __slots__ = ("_asked", "_expires", "_failed_since", "_failures", "_stale_used", "deadline", "state")

    def __init__(self, settings: Registering) -> None:
        self.state = State.IDLE
        self.deadline: float | None = None
        """When `tick` has something to do."""
        self._asked = settings.expires
        self._expires: float | None = None  # when the binding that we have ends
        self._failures = 0
        self._failed_since: float | None = None
        self._stale_used = False

    def registered(self, now: float) -> bool:
        """The operator knows where we are."""
        return self._expires is not None and now < self._expires

    def start(self, now: float) -> list[Output]:
        return self._try(now)

    def accepted(self, granted: float | None, now: float, chance: float) -> list[Output]:
        """2xx. granted: seconds that our Contact got, None when the answer does not say."""
        if self.state not in (State.TRYING, State.PROVING):
            return []
        seconds = float(self._asked if granted is None or granted <= 0 else min(granted, EXPIRES_MAX))
        new = self._failed_since is not None or not self.registered(now)
        failed_for = 0.0 if self._failed_since is None else now - self._failed_since
        self.state = State.REGISTERED
        self._expires = now + seconds
        self._failures, self._failed_since = 0, None
        self.deadline = now + max(REFRESH_MIN, seconds * (0.75 + 0.1 * chance))
        return [Registered(seconds, failed_for)] if new else []

    def challenged(self, sip_status: int, why_not: str, *, stale: bool, now: float, chance: float) -> list[Output]:
        """401 or 407. why_not: "" when the challenge is our realm's and can be answered, else the reason why not."""
        if self.state not in (State.TRYING, State.PROVING):
            return []
        again = self.state is State.TRYING or (stale and not self._stale_used)
        if why_not or not again:
            return self.failed(sip_status, why_not or "credentials refused", now, chance)
        self._stale_used = self.state is State.PROVING
        self.state = State.PROVING
        self.deadline = now + ANSWER_WITHIN
        return [Send(self._asked, self._failures, proven=True)]

    def too_brief(self, least: int, now: float, chance: float) -> list[Output]:
        """423 with Min-Expires (§10.2.8)."""
        if self.state not in (State.TRYING, State.PROVING):
            return []
        if not self._asked < least <= EXPIRES_MAX:
            return self.failed(423, "Interval Too Brief", now, chance)
        self._asked = least
        return self._try(now)

    def failed(self, sip_status: int, why: str, now: float, chance: float, retry_after: float = 0.0) -> list[Output]:
        """Any other final answer, or none."""
        if self.state not in (State.TRYING, State.PROVING):
            return []
        self._failures += 1
        if self._failed_since is None:
            self._failed_since = now
        wait = min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(self._failures - 1, 16)) * (0.5 + 0.5 * chance)
        if sip_status in REFUSALS:
            wait = max(wait, REFUSED_RETRY)
        wait = max(wait, min(retry_after, RETRY_MAX))
        self.state = State.WAITING
        self.deadline = now + wait
        return [Failed(sip_status, why, wait, self._failures)]

    def flow_lost(self, now: float, chance: float) -> None:
        """The connection that our binding was made by is gone: calls that come by it would not find us (RFC 5626
        §4.2.1). Soon, but not all of an operator's customers at once, we register anew."""
        if self.state is State.REGISTERED and self.deadline is not None:
            self.deadline = min(self.deadline, now + RETRY_FIRST * (0.5 + 0.5 * chance))

    def tick(self, now: float, chance: float) -> list[Output]:
        """What is due. Calling it early or often does no harm."""
        if self.deadline is None or now < self.deadline:
            return []
        if self.state in (State.TRYING, State.PROVING):
            return self.failed(0, "no answer", now, chance)
        return self._try(now)

    def stop(self, now: float) -> Send | None:
        """An orderly end: the REGISTER that removes our binding, when there may be one."""
        had = self.registered(now)
        self.state, self.deadline, self._expires = State.IDLE, None, None
        return Send(0, self._failures, proven=False) if had else None

    def _try(self, now: float) -> list[Output]:
        self.state = State.TRYING
        self._stale_used = False
        self.deadline = now + ANSWER_WITHIN
        return [Send(self._asked, self._failures, proven=False)]
