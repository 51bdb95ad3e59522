"""What is saved of calls and legs for a process after this one: see docs/adr/0009."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.json import encode

from engine.line import Line
from events.types import Event
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.leg import SipLeg
    from engine.session import LiveCall


class Keeping:
    """calls: those that there are. The legs that are to be saved are in `line.touched`."""

    def __init__(self, calls: dict[CallId, "LiveCall"], line: Line) -> None:
        self._calls = calls
        self._line = line
        self._touched: set[CallId] = set()
        self._kept: dict[CallId, set[SipLeg]] = {}
        """Legs that are saved, by the call that they belong or belonged to."""

    def touch(self, call: CallId) -> None:
        """It is to be saved at the end of this turn of the loop."""
        self._touched.add(call)

    def happened(self, event: Event) -> None:
        """Whatever is told of a call changes it."""
        call = getattr(event, "call", None)
        if call in self._calls:
            self._touched.add(call)

    def save(self, put: Callable[[str, bytes], None]) -> None:
        """Keep what has changed since this was last called, for `restoring.restore`: put(key, state)."""
        if self._touched:
            touched, self._touched = self._touched, set()
            for call_id in touched:
                call = self._calls.get(call_id)
                put(f"call/{call_id}", encode(call.state()) if call is not None else b"")
                if call is None:
                    self._line.touched.update(self._kept.pop(call_id, ()))
        if self._line.touched:
            legs, self._line.touched = self._line.touched, set()
            for leg in legs:
                self._save_leg(leg, put)

    def _save_leg(self, leg: "SipLeg", put: Callable[[str, bytes], None]) -> None:
        """A leg is kept as long as its call, which may ask how it ended, and then until nothing more comes of it."""
        if leg.call in self._calls:
            self._kept.setdefault(leg.call, set()).add(leg)
        elif leg.spent:
            put(f"leg/{leg.tag}", b"")
            return
        put(f"leg/{leg.tag}", encode(leg.state()))
