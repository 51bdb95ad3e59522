"""Placing calls: an order to dial, carried out by the phones of an address of record or through trunks."""

from functools import partial

from engine.call import Dial, Dialled, DialOutcome
from engine.destination import Destination, to_phone
from engine.fork import best, ring
from engine.hearing import Hearing
from engine.leg import SipLeg
from engine.line import Line
from engine.outbound_leg import OutboundLeg
from engine.registration import Registration
from engine.session import LiveCall
from engine.trunks.dialling import Dialling, MakeLeg
from engine.trunks.pool import TrunkPool


class Placing:
    """trunks: started by whoever made them. ringback: see UaSettings."""

    def __init__(self, line: Line, registration: Registration, trunks: TrunkPool, ringback: str) -> None:
        self._line = line
        self._registration = registration
        self._trunks = trunks
        self._ringback = ringback

    async def dial(self, call: LiveCall, order: Dial) -> Dialled:
        """See Call.dial."""
        hearing = Hearing(_hearer(call, order), self._ringback)
        try:
            return await self._dial(call, order, hearing, partial(self._leg, call, order, hearing))
        finally:
            hearing.stop()

    async def _dial(self, call: LiveCall, order: Dial, hearing: Hearing, make_leg: MakeLeg) -> Dialled:
        codec, now = call.leg.codec, self._line.clock.monotonic
        if ringing := call.phones.claim_ringing(order):
            for leg in ringing:
                leg.progressed = hearing.progressed
                leg.hear_again()
            hearing.take_over()
            trunks = await self._trunks.following(ringing[0], order)
            if not trunks:
                return await ring(ringing, codec, order, now)
            return await Dialling(call.id, order, call.caller, codec, make_leg).from_leg(ringing[0], trunks)
        bindings = best(self._registration.contacts(order.aor, now())) if order.aor else ()
        if bindings:
            display = f"{call.caller} {order.display}".strip()
            legs = [make_leg(to_phone(self._line, binding, call.caller, display)) for binding in bindings]
            return await ring(legs, codec, order, now)
        if order.number:
            trunks = await self._trunks.named(order)
            return await Dialling(call.id, order, call.caller, codec, make_leg).through(trunks)
        return Dialled(DialOutcome.UNREACHABLE, None, 480, 0.0)

    def _leg(self, call: LiveCall, order: Dial, hearing: Hearing, to: Destination) -> OutboundLeg:
        leg = call.add_phone(lambda leg_id: OutboundLeg(self._line, call.leg.plane, call.id, leg_id, to))
        leg.phone = to.phone
        leg.number = order.number if to.trunk else ""
        leg.progressed = hearing.progressed
        return leg


def _hearer(call: LiveCall, order: Dial) -> SipLeg | None:
    """Who waits for the answer with his ear on the line."""
    if order.caller_hears:
        return call.leg
    return order.hearer if isinstance(order.hearer, SipLeg) else None
