"""A trunk as configured: what we take from an operator or gateway, and how we call through it."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from engine.media.profile import USUAL, MediaProfile
from engine.trunks.breaker import Health
from engine.trunks.credentials import Credentials
from engine.trunks.identity import Identity
from engine.trunks.registering import Registering
from engine.trunks.rewrite import Rule
from engine.trunks.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """How to call through it."""

    targets: tuple[Target, ...]
    identity: Identity
    called: tuple[Rule, ...] = ()
    """E.164 → what the operator wants to be given."""
    credentials: Credentials | None = None
    registering: Registering | None = None
    """Needs credentials: their user is the one that registers."""
    contact: str = ""
    """User part of our Contact: the operator's calls come to it. "": the credentials' user."""
    health: Health = field(default_factory=Health)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """An operator or gateway."""

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Calls from there need no password, and are believed who calls (RFC 3325)."""
    tls_names: frozenset[str] = frozenset()
    """When given, that is so only over TLS for a peer whose certificate names one of these (RFC 5922), in small
    letters; without networks, from anywhere."""
    user: str = ""
    """Calls that prove this digest user come through it, wherever they come from; "": none."""
    caller: tuple[Rule, ...] = ()
    """What the operator writes → E.164, for who calls …"""
    called: tuple[Rule, ...] = ()
    """… and for what was dialled."""
    max_calls: int = 1000
    """Both directions together."""
    calls_per_second: float = 0.0
    """Both directions together; 0: no limit."""
    profile: MediaProfile = USUAL
    outbound: Outbound | None = None
    """None: calls only come in."""
