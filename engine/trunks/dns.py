"""Questions to DNS, and to /etc/hosts before it, as the machine is set up. dnspython speaks the protocol: it takes no
answer but to its own question, from where it asked, and gives up a chain of aliases that has no end."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.NAPTR
import dns.rdtypes.IN.SRV
import dns.resolver

from engine.transport.addresses import is_ipv6, parse_ip
from engine.trunks.location import Naptr, Question, Records, Srv

HOSTS = Path("/etc/hosts")
RESOLV = Path("/etc/resolv.conf")
LOOKUP_WITHIN = 5.0
"""Seconds for one question, all name servers together."""
TTL_MIN, TTL_MAX = 5.0, 3600.0
NEGATIVE_MAX = 300.0
HOSTS_TTL = 60.0
"""Seconds for which an answer is taken as good: less would keep name servers busy, more would keep us where an operator
is no longer."""


class Answer(NamedTuple):
    records: Records
    ttl: float
    """Seconds."""


class DnsFailed(Exception):
    """Nobody answers, or nobody knows: nothing is said about the name."""


class DnsLookup:
    """servers: (address, port) in place of /etc/resolv.conf's. hosts: a file like /etc/hosts."""

    def __init__(self, servers: Sequence[tuple[str, int]] = (), hosts: Path = HOSTS) -> None:
        self._servers = servers
        self._hosts = hosts
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._read = 0  # mtime of the file that it was made from
        self._fixed_hosts: dict[str, list[str]] = {}
        self._hosts_read = 0

    async def __call__(self, question: Question) -> Answer:
        """Raises DnsFailed."""
        if fixed := self._fixed(question.name):
            wanted = [address for address in fixed if is_ipv6(address) == (question.kind == "AAAA")]
            return Answer(tuple(wanted) if question.kind in ("A", "AAAA") else (), HOSTS_TTL)
        try:
            name = dns.name.from_text(question.name)
            answer = await self._made().resolve(
                name if "." in question.name else question.name,
                question.kind,
                raise_on_no_answer=False,
                lifetime=LOOKUP_WITHIN,
                search="." not in question.name,
            )
        except dns.resolver.NXDOMAIN as error:
            return Answer((), _negative(error))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DnsFailed(f"{question.kind} {question.name}: {_said(error)}") from error
        ttl = float(answer.chaining_result.minimum_ttl)
        if answer.rrset is None:
            return Answer((), _bounded(ttl, NEGATIVE_MAX))
        return Answer(tuple(filter(None, map(_record, answer.rrset))), _bounded(ttl, TTL_MAX))

    def _made(self) -> dns.asyncresolver.Resolver:
        """Raises DNSException: this machine has no name server."""
        if self._servers:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver(configure=False)
                self._resolver.nameservers = [server for server, _ in self._servers]
                self._resolver.nameserver_ports = dict(self._servers)
            return self._resolver
        changed = _changed_at(RESOLV)
        if self._resolver is None or changed != self._read:
            self._resolver, self._read = dns.asyncresolver.Resolver(str(RESOLV)), changed
        return self._resolver

    def _fixed(self, name: str) -> list[str]:
        """Addresses in /etc/hosts. A host that the machine's owner has put there has no service records."""
        changed = _changed_at(self._hosts)
        if changed != self._hosts_read:
            self._hosts_read, self._fixed_hosts = changed, _read_hosts(self._hosts)
        host = name
        while host.startswith("_"):
            host = host.partition(".")[2]
        return self._fixed_hosts.get(host, [])


def _read_hosts(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        parsed = parse_ip(address)
        for name in names if parsed is not None else ():
            found.setdefault(name.lower(), []).append(str(parsed))
    return found


def _record(rdata: object) -> Naptr | Srv | str | None:
    match rdata:
        case dns.rdtypes.IN.SRV.SRV():
            return Srv(rdata.priority, rdata.weight, rdata.port, _text(rdata.target))
        case dns.rdtypes.IN.NAPTR.NAPTR():
            flags, service, regexp = (
                part.decode(errors="replace") for part in (rdata.flags, rdata.service, rdata.regexp)
            )
            return Naptr(rdata.order, rdata.preference, flags, service, regexp, _text(rdata.replacement))
        case dns.rdtypes.IN.A.A() | dns.rdtypes.IN.AAAA.AAAA():
            return str(rdata.address)
    return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True) if name != dns.name.root else ""


def _negative(error: dns.resolver.NXDOMAIN) -> float:
    """RFC 2308 §5: the SOA record says for how long there is nothing."""
    responses: dict[object, dns.message.QueryMessage] = error.kwargs["responses"]
    ttls = [response.resolve_chaining().minimum_ttl for response in responses.values()]
    return _bounded(float(min(ttls, default=0)), NEGATIVE_MAX)


def _bounded(ttl: float, most: float) -> float:
    return max(TTL_MIN, min(ttl, most))


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]


def _changed_at(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
