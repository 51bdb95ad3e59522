"""The order in which messages are taken: those of calls in progress and registrations at once, new calls behind them.

A burst of INVITEs would else hold up the ACKs, BYEs and re-INVITEs of everybody who talks already. New calls, and the
CANCELs that belong to them, wait in a line of their own, in order; a turn of the event loop takes as many of them as
go into A_TURN seconds.
"""

from collections import Counter, deque
from collections.abc import Callable

from engine.sip.flow import Flow
from engine.sip.glimpse import opens_call

A_TURN = 0.004
WAITING_LIMIT = 5000
"""New calls that may wait here; beyond, they are dropped as a full socket would drop them. Some 5 MB."""


class Intake:
    """receive: gets every message. soon: `loop.call_soon`. dropped: why → how many, as of Gate."""

    def __init__(
        self,
        receive: Callable[[bytes, Flow], None],
        soon: Callable[[Callable[[], None]], object],
        monotonic: Callable[[], float],
        dropped: Counter[str],
    ) -> None:
        self._receive = receive
        self._soon = soon
        self._now = monotonic
        self._waiting: deque[tuple[float, bytes, Flow]] = deque()
        self._dropped = dropped

    def take(self, data: bytes, flow: Flow) -> None:
        """For the transports."""
        if not opens_call(data):
            self._receive(data, flow)
        elif len(self._waiting) < WAITING_LIMIT:
            if not self._waiting:
                self._soon(self._serve)
            self._waiting.append((self._now(), data, flow))
        else:
            self._dropped["waiting"] += 1

    def lost(self, flow: Flow) -> None:
        """A connection is gone: nobody is there any more to make the calls that came by it."""
        if any(place == flow for _, _, place in self._waiting):
            self._waiting = deque(it for it in self._waiting if it[2] != flow)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def delay(self, now: float) -> float:
        """Seconds that the first in line has waited; 0 when nobody does."""
        return now - self._waiting[0][0] if self._waiting else 0.0

    def _serve(self) -> None:
        until = self._now() + A_TURN
        try:
            while self._waiting and self._now() < until:
                _, data, flow = self._waiting.popleft()
                self._receive(data, flow)
        finally:
            if self._waiting:
                self._soon(self._serve)
