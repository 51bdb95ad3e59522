"""All trunks that calls can go out by."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from engine.call import Dial
from engine.line import Line
from engine.outbound_leg import OutboundLeg
from engine.sip.flow import Flow
from engine.transport.addresses import parse_ip
from engine.trunks.credentials import Credentials
from engine.trunks.limits import Limits
from engine.trunks.model import Trunk
from engine.trunks.resolver import Found, Lost, Resolver
from engine.trunks.targets import Target
from engine.trunks.trunk import Before, TrunkAtWork
from engine.trunks.words import WHY_MAX
from events.types import TrunkRemoved, TrunkTargetResolved, TrunkTargetUnresolved

RESOLVED_WITHIN = 6.0
"""Seconds that the trunks wait at their start for DNS; those of whose targets it has not spoken by then have none."""


class TrunkPool:
    """`start` it once calls can be sent, `stop` it once. Before and after, it has no trunk to dial through.

    limits: by name, shared with those who admit calls. changed: (trunk, up) at the start and whenever it changes."""

    def __init__(
        self,
        trunks: Sequence[Trunk],
        limits: Mapping[str, Limits],
        changed: Callable[[str, bool], None],
        resolver: Resolver | None = None,
    ) -> None:
        self._trunks = [trunk for trunk in trunks if trunk.outbound is not None]
        self._limits = limits
        self._changed = changed
        self._resolver = resolver or Resolver()
        self._working: dict[str, TrunkAtWork] = {}
        self._running: asyncio.Task[None] | None = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, line: Line, before: Mapping[str, Before]) -> None:
        """before: what the log says of each trunk that it knows. Trunks with targets given by name begin once those are
        looked up; that may take seconds, and nobody waits for it."""
        for name in sorted(before.keys() - {trunk.name for trunk in self._trunks}):
            line.emit(TrunkRemoved(trunk=name))
        if any(parse_ip(target.host) is None for target in self._targets()):
            self._running = asyncio.get_running_loop().create_task(self._resolve(line, before))
        else:
            self._begin(line, before)

    async def stop(self) -> None:
        """Take registrations back; no more OPTIONS."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        working, self._working = list(self._working.values()), {}
        await asyncio.gather(*(work.stop() for work in working))

    async def named(self, order: Dial) -> list[TrunkAtWork]:
        """Trunks for this order, in its order. At the start of the process it waits until they have begun."""
        await asyncio.wait((self._begun,), timeout=order.ring_for)
        return [self._working[name] for name in order.trunks if name in self._working]

    async def following(self, leg: OutboundLeg, order: Dial) -> list[TrunkAtWork]:
        """The trunk by which a process before this one rang `leg`, and those that may be asked after it; [] when that
        does not matter any more, or the trunk is not among those of this order now."""
        to = leg.destination
        await asyncio.wait((self._begun, leg.outcome), timeout=order.ring_for, return_when=asyncio.FIRST_COMPLETED)
        if to.target is None or leg.talking:
            return []
        trunks = await self.named(order)
        names = [trunk.name for trunk in trunks]
        return trunks[names.index(to.trunk) :] if to.trunk in names else []

    def credentials(self, trunk: str) -> Credentials | None:
        """By which requests of ours in a trunk's calls are proved."""
        found = next((it.outbound for it in self._trunks if it.name == trunk), None)
        return found.credentials if found is not None else None

    def flow_lost(self, flow: Flow) -> None:
        for work in self._working.values():
            work.flow_lost(flow)

    def taken(self, trunk: str, now: float) -> Limits | None:
        """Count a call that goes out by this trunk since before this process. Returns what to release at its end."""
        limits = self._limits.get(trunk)
        if limits is not None:
            limits.take(now)
        return limits

    def _targets(self) -> list[Target]:
        return [target for trunk in self._trunks if trunk.outbound for target in trunk.outbound.targets]

    def _begin(self, line: Line, before: Mapping[str, Before]) -> None:
        self._begun.set_result(None)
        for trunk in self._trunks:
            assert trunk.outbound is not None
            limits = self._limits[trunk.name]
            work = TrunkAtWork(trunk, trunk.outbound, limits, line, self._resolver, self._changed)
            self._working[trunk.name] = work
            work.start(before.get(trunk.name, Before()))

    async def _resolve(self, line: Line, before: Mapping[str, Before]) -> None:
        loop, targets = asyncio.get_running_loop(), self._targets()
        tell = partial(self._told, line)
        first = loop.create_task(self._resolver.refresh(targets, tell))
        try:
            await asyncio.wait((first,), timeout=RESOLVED_WITHIN)
            self._begin(line, before)
            due = await first
        finally:
            first.cancel()
        while due is not None:
            await asyncio.sleep(due - loop.time())
            due = await self._resolver.refresh(targets, tell)

    def _told(self, line: Line, what: Found | Lost) -> None:
        target = str(what.target)
        for trunk in self._trunks:
            if trunk.outbound is None or what.target not in trunk.outbound.targets:
                continue
            if isinstance(what, Lost):
                why, kept = what.why[:WHY_MAX], what.kept
                line.emit(TrunkTargetUnresolved(trunk=trunk.name, target=target, why=why, kept=kept))
            else:
                places, failed_for = what.places, round(what.failed_for, 3)
                line.emit(TrunkTargetResolved(trunk=trunk.name, target=target, places=places, failed_for=failed_for))
