"""One trunk at work: the health of its targets, and the one timer for them and its registration. What to do is decided
by breaker.py; this carries it out.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.line import DEFAULT_PORT, SERVER, Line, ResponseHandler
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response
from engine.sip.transactions import ClientKey
from engine.trunks.breaker import RETRY_AFTER_MAX, Breaker, Down, Up
from engine.trunks.identity import shown
from engine.trunks.limits import Limits
from engine.trunks.location import Place
from engine.trunks.model import Outbound, Trunk
from engine.trunks.registration import Registration
from engine.trunks.resolver import Resolver
from engine.trunks.targets import Target, in_order
from engine.trunks.words import WHY_MAX, retry_after_of, target_uri
from events.types import TrunkDown, TrunkStarted, TrunkTargetDown, TrunkTargetUp, TrunkUp

AVOIDED_FOR = 60.0
"""Seconds for which a place of a target that failed comes after its other places (RFC 3263 §4.3)."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the log says of a trunk when we start. Seconds since each began."""

    down_for: float | None = None
    targets: tuple[tuple[str, float], ...] = ()
    """Targets that are down."""


class TrunkAtWork:
    """changed: (name, has a target that is up); called when that changes, and at the start."""

    def __init__(
        self,
        trunk: Trunk,
        outbound: Outbound,
        limits: Limits,
        line: Line,
        resolver: Resolver,
        changed: Callable[[str, bool], None],
    ) -> None:
        self.trunk = trunk
        self.outbound = outbound
        self.limits = limits
        self.line = line
        self._resolver = resolver
        self._changed = changed
        self._breakers: dict[Target, Breaker] = {}
        self._avoided: dict[tuple[Target, Place], float] = {}  # until when
        self._probing: dict[Target, Place] = {}  # asked by OPTIONS that have no answer yet
        self._down_since: float | None = None
        self._registration: Registration | None = None
        if outbound.registering is not None and outbound.credentials is not None:
            self._registration = Registration(self, outbound.registering, outbound.credentials)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return self.trunk.name

    @property
    def up(self) -> bool:
        return self._down_since is None

    def start(self, before: Before) -> None:
        """From now on it is watched."""
        now, down = self._now(), dict(before.targets)
        for target in self.outbound.targets:
            since = now - down[str(target)] if str(target) in down else None
            self._breakers[target] = Breaker(self.outbound.health, now, self.line.chance(), since)
        self.line.emit(
            TrunkStarted(
                trunk=self.name,
                targets=[str(target) for target in self.outbound.targets],
                registers=self._registration is not None,
            )
        )
        all_down = not any(breaker.up for breaker in self._breakers.values())
        if before.down_for is not None:
            self._down_since = now - before.down_for
        if not all_down:
            self._came_up(now)
        elif self._down_since is None:
            self._went_down("no target is up", now)
        self._changed(self.name, self.up)
        if self._registration is not None:
            self._registration.start()
        self.arm()

    async def stop(self) -> None:
        """Orderly: take our registration back, ask nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._breakers.clear()
        if self._registration is not None:
            await self._registration.stop()

    # --- for calls ----------------------------------------------------------------------------------------------

    def candidates(self) -> list[Target]:
        """Targets that may have a call now, in the order to try them."""
        now = self._now()
        usable = [target for target, breaker in self._breakers.items() if breaker.usable(now)]
        return in_order(usable, self.line.chance)

    def places(self, target: Target) -> list[Place]:
        """Where to send, best first; those that failed lately come last. [] when DNS has not said yet."""
        now = self._now()
        found = self._resolver.places(target, self.line.chance)
        return sorted(found, key=lambda place: self._avoided.get((target, place), 0.0) > now)

    def flow(self, target: Target, place: Place) -> Flow | None:
        """None when nothing of ours reaches it. A TLS server must prove to be the target, not what DNS made of it
        (RFC 5922 §4)."""
        return self.line.flow_to(place.transport, (place.host, place.port), target.host)

    def way(self, target: Target, last: Place | None = None) -> tuple[Place, Flow] | None:
        """The best place that can be reached; `last`, when it still is one and has not failed."""
        places = self.places(target)
        if last in places and not self._avoids(target, last):
            places.insert(0, last)
        for place in places:
            flow = self.flow(target, place)
            if flow is not None:
                return place, flow
        return None

    def addresses(self, target: Target) -> list[tuple[str, int]]:
        """The target as a peer may name it."""
        named = {(target.host.lower(), target.port or DEFAULT_PORT), *self._resolver.names(target)}
        return [*named, *((place.host, place.port) for place in self._resolver.places(target))]

    def registrar(self, attempt: int) -> Target:
        """Each failure moves on to the next target; one that is down comes only when none is up."""
        up = [target for target, breaker in self._breakers.items() if breaker.up]
        order = sorted(up or self.outbound.targets, key=lambda target: target.priority)
        return order[attempt % len(order)]

    def answered(self, target: Target, place: Place) -> None:
        """A request to it was answered by something, be it with a refusal."""
        self._avoided.pop((target, place), None)
        breaker = self._breakers.get(target)
        if breaker is not None:
            self._health(target, [breaker.answered(self._now())])

    def failed(
        self, target: Target, place: Place | None, why: str, retry_after: float = 0.0, *, certain: bool = False
    ) -> None:
        """A request to it met silence or 503. While it has another place that has not failed, it is not the target
        itself that did; that place is next. None: it has no place at all."""
        if place is not None and self.avoid(target, place, retry_after):
            return
        breaker = self._breakers.get(target)
        if breaker is not None:
            self._health(target, [breaker.failed(self._now(), why, retry_after, certain=certain)])

    def no_connection(self, target: Target, place: Place, flow: Flow) -> str:
        """The connection to it failed: counted, and why. A certificate that does not prove the target is a fault at
        once: it is as bad at the next try."""
        fault = self.line.fault_of(flow)
        why = f"no connection: {fault.why}" if fault.why else "no connection"
        self.failed(target, place, why, certain=fault.unproven)
        return why

    def _avoids(self, target: Target, place: Place) -> bool:
        return self._avoided.get((target, place), 0.0) > self._now()

    def avoid(self, target: Target, place: Place, seconds: float) -> bool:
        """Whether there is another place that is not avoided. A place that is the only one need not be."""
        now = self._now()
        self._avoided = {key: until for key, until in self._avoided.items() if until > now}
        self._avoided[target, place] = now + max(AVOIDED_FOR, min(seconds, RETRY_AFTER_MAX))
        return any(not self._avoids(target, other) for other in self._resolver.places(target))

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone. One that was closed in order says nothing of its target."""
        if self._registration is not None:
            self._registration.flow_lost(flow)
        if self.line.fault_of(flow).why:
            place = Place(flow.transport, *flow.remote)
            for target, breaker in self._breakers.items():
                if place in self._resolver.places(target):
                    breaker.doubted(self._now())
        self.arm()

    # --- time -----------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self.line.clock.monotonic()

    def arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadlines = [breaker.deadline for breaker in self._breakers.values()]
        if self._registration is not None:
            deadlines.append(self._registration.deadline)
        times = [at for at in deadlines if at is not None]
        if times:
            self._timer = asyncio.get_running_loop().call_at(min(times), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._now()
        for target, breaker in list(self._breakers.items()):
            for due in breaker.tick(now):
                if isinstance(due, Down):
                    self._health(target, [due])
                else:
                    self._probe(target)
        if self._registration is not None:
            self._registration.tick()
        self.arm()

    # --- health ---------------------------------------------------------------------------------------------------

    def _probe(self, target: Target) -> None:
        silent = self._probing.pop(target, None)
        if silent is not None:
            self.avoid(target, silent, 0.0)  # the breaker has counted it
        way = self.way(target)
        if way is None:
            self.failed(target, None, "no address")
            return
        place, flow = way
        self._probing[target] = place
        uri = target_uri(target)
        identity = self.outbound.identity
        items = [
            ("Max-Forwards", "70"),
            ("From", f"{shown(identity, identity.number).from_};tag={self.line.ids.token()}"),
            ("To", f"<{uri}>"),
            ("Call-ID", self.line.ids.token(100)),
            ("CSeq", "1 OPTIONS"),
            ("Contact", self.line.contact(flow)),
            ("Accept", "application/sdp"),
            ("User-Agent", SERVER),
        ]
        self.line.send_request(Request("OPTIONS", uri, Headers.of(items), b""), flow, _Probe(self, target, place, flow))

    def probed(self, target: Target, place: Place) -> None:
        """There is an answer to OPTIONS, good or bad."""
        if self._probing.get(target) == place:
            del self._probing[target]

    def _health(self, target: Target, changes: Sequence[Up | Down | None]) -> None:
        now = self._now()
        for change in changes:
            match change:
                case Up():
                    self.line.emit(
                        TrunkTargetUp(trunk=self.name, target=str(target), down_for=round(change.down_for, 3))
                    )
                    self._came_up(now)
                case Down():
                    self.line.emit(TrunkTargetDown(trunk=self.name, target=str(target), why=change.why[:WHY_MAX]))
                    if not any(breaker.up for breaker in self._breakers.values()):
                        self._went_down(change.why, now)
        self.arm()

    def _came_up(self, now: float) -> None:
        if self._down_since is not None:
            down_for, self._down_since = now - self._down_since, None
            self.line.emit(TrunkUp(trunk=self.name, down_for=round(down_for, 3)))
            self._changed(self.name, True)

    def _went_down(self, why: str, now: float) -> None:
        if self._down_since is None:
            self._down_since = now
            self.line.emit(TrunkDown(trunk=self.name, why=why[:WHY_MAX]))
            self._changed(self.name, False)


class _Probe(ResponseHandler):
    """The answer to one OPTIONS."""

    def __init__(self, trunk: TrunkAtWork, target: Target, place: Place, flow: Flow) -> None:
        self._trunk = trunk
        self._target = target
        self._place = place
        self._flow = flow

    def response(self, key: ClientKey, response: Response) -> None:
        if response.status < 200:
            return
        self._trunk.probed(self._target, self._place)
        if response.status == 503:
            self._trunk.failed(self._target, self._place, "503 to OPTIONS", retry_after_of(response))
        else:
            self._trunk.answered(self._target, self._place)

    def failed(self, key: ClientKey, why: str) -> None:
        if why == "transport":  # silence has been counted long before the transaction gives up
            self._trunk.probed(self._target, self._place)
            self._trunk.no_connection(self._target, self._place, self._flow)
