"""Where targets are that are given by name. A call never waits for it: it looks at what is known."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from engine.transport.addresses import parse_ip
from engine.trunks.dns import Answer, DnsFailed, DnsLookup
from engine.trunks.location import Located, Place, Question, Records, locate, order
from engine.trunks.targets import Target

Lookup = Callable[[Question], Awaitable[Answer]]
"""Raises DnsFailed."""
ROUNDS = 4
"""Questions that follow from answers: NAPTR, SRV, addresses; and one for what has run out meanwhile."""
CACHE_LIMIT = 4096
AGAIN_SOON = 5.0
"""Seconds until a name that could not be resolved is asked for again; and at least between two looks."""


class Found(NamedTuple):
    """DNS says where a target is: for the first time, or again."""

    target: Target
    places: list[str]
    failed_for: float


class Lost(NamedTuple):
    """It does not, or not all of it."""

    target: Target
    why: str
    kept: list[str]


Tell = Callable[[Found | Lost], None]


class Resolver:
    """`refresh` asks; `places` answers at once. What was known stays known while there is no better answer: addresses
    outlive name servers."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup: Lookup = lookup or DnsLookup()
        self._cache: dict[Question, tuple[Records, float]] = {}  # with the time at which it runs out
        self._located: dict[Target, Located] = {}
        self._lost: dict[Target, float] = {}  # since when

    def places(self, target: Target, chance: Callable[[], float] = lambda: 0.0) -> list[Place]:
        """In the order to try them; [] when nothing is known yet."""
        if parse_ip(target.host) is not None:
            return order(locate(target, lambda _: None), chance)
        located = self._located.get(target)
        return order(located, chance) if located is not None else []

    def names(self, target: Target) -> set[tuple[str, int]]:
        """Host names and ports that stand for the target in DNS."""
        located = self._located.get(target)
        return {(at.host, at.port) for service in located.services for at in service} if located is not None else set()

    async def refresh(self, targets: Iterable[Target], tell: Tell) -> float | None:
        """Ask for what is not known, or not any more. Returns when to come again, in the loop's time; None: never."""
        named = [target for target in dict.fromkeys(targets) if parse_ip(target.host) is None]
        self._forget_old()
        due = await asyncio.gather(*(self._find(target, tell) for target in named))
        return min(due, default=None)

    async def _find(self, target: Target, tell: Tell) -> float:
        """A question that fails is taken as one to which there are no records, to see what is left without them."""
        now, asked, failures = _now(), set[Question](), dict[Question, str]()

        def known(question: Question) -> Records | None:
            records, until = self._cache.get(question, ((), 0.0))
            if until <= now:
                return () if question in failures else None
            asked.add(question)
            return records

        located = locate(target, known)
        for _ in range(ROUNDS):
            if not located.missing:
                break
            told = await asyncio.gather(*map(self._ask, located.missing))
            failures |= {question: why for question, why in zip(located.missing, told, strict=True) if why}
            located = locate(target, known)
        why = _fault(located, failures)
        if why:
            self._unresolved(target, why, located, tell)
            return _now() + AGAIN_SOON
        self._resolved(target, located, tell)
        again = min((self._cache[question][1] for question in asked if question in self._cache), default=0.0)
        return max(again, _now() + AGAIN_SOON)

    async def _ask(self, question: Question) -> str:
        """Why there is no answer; "" when there is one."""
        try:
            answer = await self._lookup(question)
        except DnsFailed as error:
            return str(error)
        if len(self._cache) >= CACHE_LIMIT:
            self._cache.clear()
        self._cache[question] = (answer.records, _now() + answer.ttl)
        return ""

    def _resolved(self, target: Target, located: Located, tell: Tell) -> None:
        new = target not in self._located or target in self._lost
        self._located[target] = located
        failed_for = _now() - self._lost.pop(target, _now())
        if new:
            tell(Found(target, [str(place) for place in located.places], failed_for))

    def _unresolved(self, target: Target, why: str, located: Located, tell: Tell) -> None:
        """What was known goes on. Before anything was, what is left without the answers that failed is better than
        nothing."""
        if target not in self._located and located.places:
            self._located[target] = located
        if target not in self._lost:
            self._lost[target] = _now()
            tell(Lost(target, why, [str(place) for place in self.places(target)]))

    def _forget_old(self) -> None:
        now = _now()
        for question in [question for question, (_, until) in self._cache.items() if until <= now]:
            del self._cache[question]


def _fault(located: Located, failures: dict[Question, str]) -> str:
    """Why this is not the whole truth about a target; "" when it is. Of a host's addresses of two families one is
    enough: there are name servers that never answer for the other."""
    for question, why in failures.items():
        if question.kind in ("NAPTR", "SRV") or not located.addresses.get(question.name):
            return why
    return "" if located.places else "no address"


def _now() -> float:
    return asyncio.get_running_loop().time()
