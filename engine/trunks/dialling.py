"""Ringing an external number: trunk by trunk, target by target, until something answers for the person called."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

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
Verdict = Dialled | Response | None
"""Of a leg: how the dial ended; a redirection; or nobody had anything to say, and the next place may be tried."""


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
        self._tried: set[tuple[Target, Place]] = set()

    async def through(self, trunks: Sequence[TrunkAtWork]) -> Dialled:
        """Raises PlaneError. All legs but the one that it returns are hung up, whatever happens."""
        for trunk in trunks:
            number = self._number(trunk)
            if number is None:
                continue
            dialled = await self._counted(trunk, number, trunk.candidates(), set())
            if dialled is not None:
                return dialled
        return Dialled(outcome_of(self._status), None, self._status, self._rang())

    async def from_leg(self, leg: OutboundLeg, trunks: Sequence[TrunkAtWork]) -> Dialled:
        """As `through`, from a leg on that a process before this one rang by the first of these trunks. It is counted
        there for as long as it lives."""
        (trunk, *others), to = trunks, leg.destination
        target, tried = to.target, set(to.tried)
        assert target is not None
        tried.add(target)
        verdict = await self._attempt(trunk, target, Place(to.flow.transport, *to.flow.remote), leg)
        if isinstance(verdict, Dialled):
            return verdict
        number = self._rewritten(trunk)
        if isinstance(verdict, Response):
            targets = _elsewhere(trunk, verdict, tried)
            if not targets:
                return self._redirected(verdict)
        else:
            targets = [target, *(other for other in trunk.candidates() if other not in tried)]
        dialled = None if number is None else await self._counted(trunk, number, targets, tried)
        return dialled or await self.through(others)

    async def _counted(
        self, trunk: TrunkAtWork, number: str, targets: Iterable[Target], tried: set[Target]
    ) -> Dialled | None:
        """One call of the trunk. None: no target had anything to say; another trunk may be asked."""
        trunk.limits.take(trunk.line.clock.monotonic())
        dialled: Dialled | None = None
        try:
            dialled = await self._targets(trunk, number, deque(targets), tried)
        finally:
            if dialled is None or dialled.leg is None:
                trunk.limits.release()
            else:
                assert isinstance(dialled.leg, OutboundLeg)
                dialled.leg.ended.add_done_callback(lambda _: trunk.limits.release())
        return dialled

    def _rewritten(self, trunk: TrunkAtWork) -> str | None:
        """The number as the operator wants it; None: it may not be called by this trunk."""
        asked = self._order.number
        number = rewrite(asked, trunk.outbound.called) if is_number(asked) else None
        return number if number is not None and is_number(number) else None

    def _number(self, trunk: TrunkAtWork) -> str | None:
        """As `_rewritten`; None, and an event that says why, when this trunk takes no call."""
        number = self._rewritten(trunk)
        full = trunk.limits.full(trunk.line.clock.monotonic())
        why = "" if trunk.candidates() else "down"
        why = full.value if full is not None else why
        if number is None:
            why = "number not allowed"
            self._status = 0  # our own doing, nobody's answer
        if not why:
            return number
        trunk.line.emit(TrunkCallRefused(call=self._call, trunk=trunk.name, number=self._order.number[:64], why=why))
        return None

    async def _targets(
        self, trunk: TrunkAtWork, number: str, waiting: deque[Target], tried: set[Target]
    ) -> Dialled | None:
        while waiting and self._left() > 0:
            target = waiting.popleft()
            verdict = await self._places(trunk, target, number, tried)
            tried.add(target)
            if isinstance(verdict, Response):
                waiting = deque(_elsewhere(trunk, verdict, tried))
                if not waiting:
                    return self._redirected(verdict)
            elif verdict is not None:
                return verdict
        return None

    async def _places(self, trunk: TrunkAtWork, target: Target, number: str, tried: set[Target]) -> Verdict:
        """One target: place by place, as DNS gave them."""
        reached = False
        for place in trunk.places(target):
            if self._left() <= 0:
                return None
            flow = trunk.flow(target, place)
            if flow is None:
                continue
            reached = True
            if (target, place) in self._tried:
                continue
            to = through_trunk(trunk.trunk, trunk.outbound, target, flow, number, self._caller)
            leg = self._make_leg(replace(to, target=target, tried=tuple(tried)))
            verdict = await self._attempt(trunk, target, place, leg)
            if verdict is not None:
                return verdict
        if not reached:
            trunk.failed(target, None, "no address")
        return None

    async def _attempt(self, trunk: TrunkAtWork, target: Target, place: Place, leg: OutboundLeg) -> Verdict:
        """One INVITE, unless it is out already."""
        taken = False
        self._tried.add((target, place))
        try:
            if not leg.invited:
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
                return Dialled(DialOutcome.ANSWERED, leg, 200, self._rang())
            return self._refused(trunk, target, place, leg)
        finally:
            if not taken:
                leg.hangup("not_taken")

    def _refused(self, trunk: TrunkAtWork, target: Target, place: Place, leg: OutboundLeg) -> Verdict:
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

    def _redirected(self, to_nobody: Response) -> Dialled:
        return Dialled(DialOutcome.FAILED, None, to_nobody.status, self._rang())

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
