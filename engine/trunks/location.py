"""Where a target is to be found (RFC 3263 §4, RFC 2782, RFC 3403): what to ask of DNS, and in which order to try what
that answers. Pure: `locate` says what it lacks, whoever asks DNS calls it again with more.

A target with a port is a name with addresses. One with a transport and no port has SRV records, one with neither has
NAPTR records that say which transports there are; where there are no such records the next simpler reading holds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from engine.transport.addresses import parse_ip
from engine.trunks.targets import Target, in_order

SERVICES: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
"""NAPTR services that we can use (§4.1)."""
LABELS: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
"""Of the SRV records of each transport, in our order of preference when no NAPTR record has another."""
PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}
PLACES_MAX: Final = 32
RECORDS_MAX: Final = 32
"""SRV or NAPTR records of one name that are used, best first."""
ADDRESSES_MAX: Final = 8
"""Of one name."""


class Question(NamedTuple):
    kind: str
    """NAPTR | SRV | A | AAAA"""
    name: str
    """Without a dot at its end."""


class Naptr(NamedTuple):
    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    priority: int
    weight: int
    port: int
    host: str
    """Without a dot at its end; "": the service is decidedly not there (RFC 2782)."""


Records = tuple[Naptr | Srv | str, ...]
"""Texts are addresses. (): there are none, as DNS itself says."""
Known = Callable[[Question], Records | None]
"""None: not asked yet."""


class Place(NamedTuple):
    """An address to send to."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:[{self.host}]:{self.port}" if ":" in self.host else ":".join(map(str, self))


class Located(NamedTuple):
    services: tuple[tuple[Target, ...], ...]
    """One after another; within each, hosts with priority and weight."""
    addresses: Mapping[str, tuple[str, ...]]
    missing: tuple[Question, ...]
    """To be asked; what the answers lead to may be missing then."""

    @property
    def places(self) -> list[Place]:
        """All, in no order that means anything."""
        return order(self, lambda: 0.0)


class _Search:
    def __init__(self, known: Known) -> None:
        self._known = known
        self.missing: list[Question] = []

    def ask(self, kind: str, name: str) -> Records | None:
        records = self._known(Question(kind, name))
        if records is None:
            self.missing.append(Question(kind, name))
        return records


def locate(target: Target, known: Known) -> Located:
    """What is known of a target so far."""
    search = _Search(known)
    services = _services(target, search)
    hosts = dict.fromkeys(found.host for service in services for found in service)
    addresses = {host: _addresses(host, search) for host in hosts}
    return Located(tuple(services), addresses, tuple(dict.fromkeys(search.missing)))


def order(located: Located, chance: Callable[[], float]) -> list[Place]:
    """Every place once, to be tried one after another: services in theirs, hosts by priority and by chance of their
    weights. chance: gives 0 ≤ chance < 1."""
    found = (
        Place(at.transport, address, at.port)
        for service in located.services
        for at in in_order(service, chance)
        for address in located.addresses[at.host]
    )
    return list(dict.fromkeys(found))[:PLACES_MAX]


def _services(target: Target, search: _Search) -> list[tuple[Target, ...]]:
    host = target.host.rstrip(".").lower()
    transport = target.transport or "udp"
    simple: list[tuple[Target, ...]] = [(Target(host, target.port or PORTS[transport], transport),)]
    if target.port or parse_ip(host) is not None:
        return simple
    names = [(target.transport, f"{LABELS[target.transport]}.{host}")] if target.transport else _named(host, search)
    if names is None:
        return []
    found = [(transport, search.ask("SRV", name)) for transport, name in names]
    if all(records == () for _, records in found):
        return simple
    return [_hosts(transport, records or ()) for transport, records in found]


def _named(host: str, search: _Search) -> list[tuple[str, str]] | None:
    """Transports and the names of their SRV records; None: not known yet.

    Where TLS is what the operator likes best, nothing less is used: else whoever breaks TLS has us speak openly."""
    records = search.ask("NAPTR", host)
    if records is None:
        return None
    usable = [record for record in records if isinstance(record, Naptr) and _is_usable(record)]
    usable.sort(key=lambda record: (record.order, record.preference))
    if not usable:
        return [(transport, f"{label}.{host}") for transport, label in LABELS.items()]
    named = [(SERVICES[record.service.upper()], record.replacement) for record in usable[:RECORDS_MAX]]
    return [pair for pair in named if pair[0] == "tls"] if named[0][0] == "tls" else named


def _is_usable(record: Naptr) -> bool:
    """§4.1: a service of SIP over a transport that we have, at a name, without a rule to rewrite it."""
    terminal = record.flags.lower() == "s" and not record.regexp and record.replacement
    return bool(terminal) and record.service.upper() in SERVICES


def _hosts(transport: str, records: Iterable[object]) -> tuple[Target, ...]:
    """A record with no host says that there is none."""
    usable = [record for record in records if isinstance(record, Srv) and record.host and record.port]
    best = sorted(usable, key=lambda record: record.priority)[:RECORDS_MAX]
    return tuple(Target(srv.host.lower(), srv.port, transport, srv.priority, srv.weight) for srv in best)


def _addresses(host: str, search: _Search) -> tuple[str, ...]:
    if parse_ip(host) is not None:
        return (host,)
    both = [record for kind in ("A", "AAAA") for record in search.ask(kind, host) or () if isinstance(record, str)]
    return tuple(dict.fromkeys(address for address in both if _is_sound(address)))[:ADDRESSES_MAX]


def _is_sound(address: str) -> bool:
    """Not one to which nobody answers: a name server that lies must not make us shout at a whole network."""
    found = parse_ip(address)
    return found is not None and not (found.is_multicast or found.is_unspecified or address == "255.255.255.255")
