"""The site's word on defence and overload (`sip.defence`, `sip.overload`), and the parts that keep it."""

import resource
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from engine.admission import SOURCES_LIMIT
from engine.defence import limits
from engine.defence.gate import Gate, Policy
from engine.overload import Limits, Overload
from engine.sip.flow import Flow
from engine.transport.addresses import parse_ip
from events.types import Event, MediaReported, ProcessExited, Recorded
from kernel.schema import Model

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
Seconds = Annotated[float, Field(gt=0, le=86_400)]


def network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        hint = f"; did you mean '{ip_network(value, strict=False)}'?"
    except ValueError:
        hint = ""
    raise ValueError(f"'{value}' is not a network such as '192.0.2.0/24' or '2001:db8::/32'{hint}")


class Rate(Model):
    per_second: Annotated[float, Field(gt=0, le=1_000_000)]
    burst: Annotated[float, Field(ge=1, le=1_000_000)]
    """How many may come at once after a quiet time."""


class Defence(Model):
    """What strangers may do, and how soon they are not listened to any more."""

    domains: list[str] = Field(default=[])
    """Other names that mean us in a Request-URI, beside `domain`, `sip.advertise` and the addresses listened on."""
    never_block: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]] = Field(default=[*LOOPBACK])
    """Networks without limits and blocks; a password is asked all the same. This machine unless said otherwise: a proxy
    here would be blocked for what any of its clients does."""
    user_failures: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Wrong passwords for one user from one source until that source can't try that user any more."""
    source_failures: Annotated[int, Field(ge=1, le=10_000)] = 15
    """Wrong passwords from one source, for whichever users."""
    failures_within: Seconds = 600.0
    block_first: Seconds = 60.0
    """The first block; each next one lasts twice as long, up to block_longest."""
    block_longest: Seconds = 3600.0
    source: Rate = Rate(per_second=200, burst=1000)
    """Messages from one address that is no trunk's, or from one phone that has proven its password."""
    source_invites: Rate = Rate(per_second=5, burst=20)
    """INVITEs without a password from one address."""
    all_invites: Rate = Rate(per_second=200, burst=400)
    """The same from all addresses together."""
    all_sources: Rate = Rate(per_second=2000, burst=4000)
    """Messages from all addresses together that are no trunk's and no proven phone's."""
    trunk: Rate = Rate(per_second=5000, burst=10_000)
    """Messages from one address of a trunk."""


class OverloadLimits(Model):
    """At these loads new calls begin to be refused with 503."""

    busy: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Share of one processor core that the control process needs."""
    lag: Seconds = 0.25
    """Lateness of its event loop."""
    transactions: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the transaction table."""
    journal: Seconds = 5.0
    """Age of the oldest event that is not on the disk."""
    media: Seconds = 0.02
    """Lateness of a media process."""
    memory_mb: Annotated[int, Field(ge=0)] = 2048
    """Of the control process: above it, until a twentieth less is in use, no new call is let in. 0: no limit."""


def gate(
    defence: Defence,
    domains: Iterable[str],
    methods: Iterable[str],
    trunk_of: Callable[[Flow], object],
    emit: Callable[[Event], None],
) -> Gate:
    """domains: names that mean us, beside `defence.domains`. trunk_of: None for a flow of no trunk."""
    policy = Policy(
        domains=frozenset(name.lower() for name in (*domains, *defence.domains)),
        methods=frozenset(methods),
        user_failures=defence.user_failures,
        source_failures=defence.source_failures,
        failures_within=defence.failures_within,
        block_first=defence.block_first,
        block_longest=defence.block_longest,
        source=_rate(defence.source),
        source_invites=_rate(defence.source_invites),
        all_invites=_rate(defence.all_invites),
        all_sources=_rate(defence.all_sources),
        trunk=_rate(defence.trunk),
    )
    exempt = _Exempt(defence.never_block)
    return Gate(policy, lambda flow: trunk_of(flow) is not None, exempt.holds, emit)


def overload(limits_: OverloadLimits, emit: Callable[[Event], None]) -> Overload:
    return Overload(
        Limits(limits_.busy, limits_.lag, limits_.transactions, limits_.journal, limits_.media),
        emit,
    )


def _rate(rate: Rate) -> limits.Rate:
    return limits.Rate(rate.per_second, rate.burst)


class _Exempt:
    """Networks that are never blocked."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def holds(self, flow: Flow) -> bool:
        host = flow.remote[0]
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= SOURCES_LIMIT:
                self._known.clear()
            address = parse_ip(host)
            known = address is not None and any(address in network for network in self._networks)
            self._known[host] = known
        return known


class Meter:
    """How busy the calling thread (the event loop's) is, as the kernel accounts for it."""

    def __init__(self, now: float) -> None:
        self._wanted = _wanted_seconds()
        self._at = now

    def busy(self, now: float) -> float:
        """Share of the time since the last call in which the thread ran, or could have run but had to wait for the
        processor; 0 … 1."""
        wanted, elapsed = _wanted_seconds(), now - self._at
        share = (wanted - self._wanted) / elapsed if elapsed > 0 else 0.0
        self._wanted, self._at = wanted, now
        return min(max(share, 0.0), 1.0)


class MediaLateness:
    """How late the media processes' ticks are: of each one's last two reports the better, since one hiccup is no
    overload; of all processes the worst."""

    def __init__(self) -> None:
        self._late: dict[str, tuple[float, float]] = {}
        self.seconds = 0.0

    def apply(self, record: Recorded) -> None:
        event = record.event
        if isinstance(event, MediaReported):
            before = self._late.get(event.media, (0.0, 0.0))[1]
            self._late[event.media] = (before, event.late_ms_max / 1000)
        elif isinstance(event, ProcessExited):
            self._late.pop(event.process, None)
        else:
            return
        self.seconds = max((min(pair) for pair in self._late.values()), default=0.0)


def _wanted_seconds() -> float:
    """Ran and waited for a processor, seconds. Only the time it ran where the kernel keeps no schedstat."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as schedstat:
            ran, waited, _ = schedstat.read().split()
    except (OSError, ValueError):
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return usage.ru_utime + usage.ru_stime
    return (int(ran) + int(waited)) / 1e9
