"""All of them: 49 kinds of RFC 4475, 12 of RFC 5118."""

from tests.support.torture.case import Case
from tests.support.torture.invalid import APPLICATION, INVALID
from tests.support.torture.ipv6 import IPV6
from tests.support.torture.valid import BACKWARD, TRANSACTIONS, VALID

CASES: tuple[Case, ...] = (*VALID, *INVALID, *TRANSACTIONS, *APPLICATION, *BACKWARD, *IPV6)


def rows() -> list[str]:
    """The table of docs/torture.md."""
    return [f"| {' | '.join(_cells(each))} |" for each in CASES]


def _cells(it: Case) -> tuple[str, ...]:
    return it.section, it.name, it.must, _parser(it), _statuses(it.udp), _statuses(it.tcp), it.ours


def _parser(it: Case) -> str:
    return f"refused, {it.parser}" if it.parser else "read"


def _statuses(statuses: frozenset[int]) -> str:
    return " ".join(map(str, sorted(statuses))) or "–"
