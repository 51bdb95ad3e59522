"""The legs of a call beside its caller's: those that were dialled for it, or came over from another call."""

from collections.abc import Callable, Iterator, Sequence

from engine.call import Dial
from engine.leg import SipLeg
from engine.leg_listener import LegListener
from engine.outbound_leg import OutboundLeg
from kernel.ids import CallId, LegId


class Phones:
    """Of one call. Ids of its legs count on and never come twice; the caller's is the first."""

    def __init__(self, call: CallId) -> None:
        self._call = call
        self._count = 1
        self._legs: list[SipLeg] = []
        self._unclaimed: set[SipLeg] = set()
        """Of a process before this one, until the application asks for them."""

    def __iter__(self) -> Iterator[SipLeg]:
        return iter(self._legs)

    @property
    def count(self) -> int:
        """For `restore`."""
        return self._count

    def restore(self, count: int, legs: Sequence[SipLeg], listener: LegListener) -> None:
        """Those that a process before this one had."""
        self._count, self._legs, self._unclaimed = count, list(legs), set(legs)
        for leg in legs:
            leg.listener = listener

    def add(self, make: Callable[[LegId], OutboundLeg], listener: LegListener) -> OutboundLeg:
        """One that is to be dialled. Those of which nothing more can come are forgotten."""
        self._legs = [leg for leg in self._legs if not leg.ended.done() or leg.stream.present]
        leg = make(self._next())
        leg.listener = listener
        self._legs.append(leg)
        return leg

    def adopt(self, leg: SipLeg, listener: LegListener) -> None:
        """One that another call gave up."""
        leg.move(self._call, self._next())
        leg.listener = listener
        self._legs.append(leg)

    def give_up(self, leg: SipLeg) -> None:
        """It goes over to another call."""
        self._legs = [phone for phone in self._legs if phone is not leg]

    def find(self, leg: LegId) -> SipLeg | None:
        """None: it is gone."""
        return next((phone for phone in self._legs if phone.id == leg), None)

    def claim(self, leg: LegId) -> SipLeg | None:
        """As `find`, for the application."""
        found = self.find(leg)
        if found is not None:
            self._unclaimed.discard(found)
        return found

    def claim_ringing(self, order: Dial) -> list[OutboundLeg]:
        """Those that a process before this one rang by this order, and that ring still."""
        found = [leg for leg in self._unclaimed if isinstance(leg, OutboundLeg) and leg.rings_for(order)]
        self._unclaimed.difference_update(found)
        return sorted(found, key=lambda leg: leg.id)

    def drop_unclaimed(self) -> None:
        """The application has asked for all that it wants."""
        for leg in self._unclaimed:
            leg.hangup("restart")
        self._unclaimed.clear()

    def _next(self) -> LegId:
        self._count += 1
        return LegId(f"{self._call}-{self._count}")
