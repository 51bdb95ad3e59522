"""Where a trunk's requests go: its targets, and the order in which to try them (RFC 2782 as RFC 3263 §4.2 uses it)."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Target(NamedTuple):
    """host: a name or an address (no brackets). Lower priority first; within one, weight is the share of calls."""

    host: str
    port: int = 5060
    """0: as DNS says (RFC 3263 §4.2)."""
    transport: str = "udp"
    """"": as DNS says (§4.1)."""
    priority: int = 0
    weight: int = 1

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ":".join(str(part) for part in (self.transport, host, self.port) if part)


def in_order(targets: Iterable[Target], chance: Callable[[], float]) -> list[Target]:
    """All targets, to be tried one after another. chance: gives 0 ≤ chance < 1, asked once for each.

    Weight 0 comes last within its priority (RFC 2782 leaves it a very small chance; an operator means "spare")."""
    left = sorted(targets, key=lambda target: (target.priority, target.weight == 0))
    out: list[Target] = []
    while left:
        first = left[0]
        alike = [t for t in left if t.priority == first.priority and (t.weight > 0) == (first.weight > 0)]
        chosen = _pick(alike, chance())
        left.remove(chosen)
        out.append(chosen)
    return out


def _pick(targets: list[Target], chance: float) -> Target:
    point = chance * sum(target.weight for target in targets)
    for target in targets:
        point -= target.weight
        if point < 0:
            return target
    return targets[-1]
