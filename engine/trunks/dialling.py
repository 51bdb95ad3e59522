"""Ringing an external number: trunk by trunk, target by target, until something answers for the person called."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from engine.call import Dial, Dialled, DialOutcome
from engine.destination import Destination, through_trunk
from engine.outbound_leg import OutboundLeg
from engine.outcome import cause_of, outcome_of
from engine.sip.grammar import BadHeader
from engine.sip.message import Response
from engine.trunks.location import Place
from engine.trunks.rewrite import is_number, rewrite
from engine.trunks.targets import Target
from engine.trunks.trunk import TrunkAtWork
from engine.trunks.words import retry_after_of
from events.types import TrunkCallRefused
from kernel.ids import CallId

FAILOVER_AFTER = 3.0
"""Seconds that a target may take for its first word, `100 Trying` included; then the next one is tried. A caller waits
through this, so it is far less than the 32 s of RFC 3261; a live proxy answers within 0.2 s (§17.2.1)."""

MakeLeg = Callable[[Destination], OutboundLeg]


class Dialling:
    """One order, through the trunks that it names."""

    def __init__(self, call: CallId, order: Dial, caller: str, first_codec: str, make_leg: MakeLeg) -> None:
        self._call = call
        self._order = order
        self._caller = caller
        self._codec = first_codec
        self._make_leg = make_leg
        self._began = asyncio.get_running_loop().time()
        self._status = 503

    async def through(self, trunks: Sequence[TrunkAtWork]) -> Dialled:
        """Raises PlaneError. All legs but the one that it returns are hung up, whatever happens."""
        for trunk in trunks:
            number = self._number(trunk)
            if number is None:
                continue
            trunk.limits.take(trunk.line.clock.monotonic())
            dialled: Dialled | None = None
            try:
                dialled = await self._targets(trunk, number)
            finally:
                if dialled is None or dialled.leg is None:
                    trunk.limits.release()
            if dialled is not None:
                return dialled
        return Dialled(outcome_of(self._status), None, self._status, self._rang())

    def _number(self, trunk: TrunkAtWork) -> str | None:
        """The number as the operator wants it; None, and an event that says why, when this trunk takes no call."""
        asked = self._order.number
        number = rewrite(asked, trunk.outbound.called) if is_number(asked) else None
        full = trunk.limits.full(trunk.line.clock.monotonic())
        why = "" if trunk.candidates() else "down"
        why = full.value if full is not None else why
        if number is None or not is_number(number):
            why = "number not allowed"
            self._status = 0  # our own doing, nobody's answer
        if not why:
            return number
        trunk.line.emit(TrunkCallRefused(call=self._call, trunk=trunk.name, number=asked[:64], why=why))
        return None

    async def _targets(self, trunk: TrunkAtWork, number: str) -> Dialled | None:
        """None: no target had anything to say; another trunk may be asked."""
        waiting, tried = deque(trunk.candidates()), set[Target]()
        while waiting and self._left() > 0:
            target = waiting.popleft()
            tried.add(target)
            verdict = await self._places(trunk, target, number)
            if isinstance(verdict, Response):
                waiting = deque(_elsewhere(trunk, verdict, tried))
                if not waiting:
                    return Dialled(DialOutcome.FAILED, None, verdict.status, self._rang())
            elif verdict is not None:
                return verdict
        return None

    async def _places(self, trunk: TrunkAtWork, target: Target, number: str) -> Dialled | Response | None:
        """One target: place by place, as DNS gave them."""
        reached = False
        for place in trunk.places(target):
            if self._left() <= 0:
                return None
            flow = trunk.flow(target, place)
            if flow is None:
                continue
            reached = True
            leg = self._make_leg(through_trunk(trunk.trunk, trunk.outbound, target, flow, number, self._caller))
            verdict = await self._attempt(trunk, target, place, leg)
            if verdict is not None:
                return verdict
        if not reached:
            trunk.failed(target, None, "no address")
        return None

    async def _attempt(
        self, trunk: TrunkAtWork, target: Target, place: Place, leg: OutboundLeg
    ) -> Dialled | Response | None:
        """One INVITE. A Response is a redirection; None: try the next place."""
        taken = False
        try:
            await leg.invite(self._order.ring_for, self._codec)
            await asyncio.wait((leg.heard,), timeout=min(FAILOVER_AFTER, self._left()))
            if not leg.heard.done():
                self._status = 408
                trunk.failed(target, place, "no answer to INVITE")
                return None
            if leg.known and not leg.lost and leg.sip_status != 503:
                trunk.answered(target, place)
            await asyncio.wait((leg.outcome,), timeout=self._left())
            if not leg.outcome.done():
                return Dialled(DialOutcome.NO_ANSWER, None, 487, self._rang())
            if leg.outcome.result() == 200 and not leg.ended.done():
                taken = True
                leg.ended.add_done_callback(lambda _: trunk.limits.release())
                return Dialled(DialOutcome.ANSWERED, leg, 200, self._rang())
            return self._refused(trunk, target, place, leg)
        finally:
            if not taken:
                leg.hangup("not_taken")

    def _refused(self, trunk: TrunkAtWork, target: Target, place: Place, leg: OutboundLeg) -> Dialled | Response | None:
        status, refusal = leg.sip_status or 487, leg.refusal
        self._status = status
        if not leg.rung and (leg.lost or status == 503):
            if leg.lost == "transport":
                trunk.no_connection(target, place, leg.flow)
            else:
                why = "no answer to INVITE" if leg.lost else "503 to INVITE"
                trunk.failed(target, place, why, retry_after_of(refusal) if refusal is not None else 0.0)
            return None
        if refusal is not None and 300 <= status < 400:
            return refusal
        cause = None if refusal is None else cause_of(refusal.headers.all("Reason"))
        return Dialled(outcome_of(status, cause), None, status, self._rang())

    def _left(self) -> float:
        return self._began + self._order.ring_for - asyncio.get_running_loop().time()

    def _rang(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began, 3)


def _elsewhere(trunk: TrunkAtWork, redirection: Response, tried: set[Target]) -> list[Target]:
    """Of the places that a 3xx names, those that are this trunk's own other targets, in its order. To follow it
    anywhere else, or to another number, would let an operator's peer spend our money (RFC 3261 §8.1.3.4 leaves the
    choice to us)."""
    try:
        named = {(c.uri.host.lower(), c.uri.port or 5060) for c in redirection.contacts if c.uri.scheme == "sip"}
    except BadHeader:
        return []
    free = [target for target in trunk.candidates() if target not in tried]
    return [target for target in free if named.intersection(trunk.addresses(target))]
