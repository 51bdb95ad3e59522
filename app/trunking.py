"""The engine's trunks, built from the site."""

from app import sections
from app.settings import Site
from engine.media.plane import Codec
from engine.media.profile import MediaProfile
from engine.transport.addresses import parse_ip
from engine.transport.tls import domain
from engine.trunks.breaker import Health
from engine.trunks.credentials import Credentials
from engine.trunks.identity import Identity
from engine.trunks.location import PORTS
from engine.trunks.model import Outbound, Trunk
from engine.trunks.registering import Registering
from engine.trunks.rewrite import Rule
from engine.trunks.targets import Target
from engine.trunks.trunk import Before
from events.live import LiveTrunk


def trunks(site: Site) -> list[Trunk]:
    return [_trunk(name, section) for name, section in site.trunks.items()]


def _trunk(name: str, section: sections.Trunk) -> Trunk:
    codecs = None if section.codecs is None else tuple(map(Codec, section.codecs))
    return Trunk(
        name=name,
        networks=tuple(section.networks),
        tls_names=frozenset(domain(name) for name in section.trust.tls_names) if section.trust else frozenset(),
        user=section.inbound.user if section.inbound else "",
        caller=_rules(section.caller),
        called=_rules(section.called),
        max_calls=section.max_calls,
        calls_per_second=section.calls_per_second,
        profile=MediaProfile(codecs, section.dtmf == "rfc4733", section.srtp),
        outbound=None if section.outbound is None else _outbound(section.outbound),
    )


def _outbound(section: sections.TrunkOutbound) -> Outbound:
    targets = tuple(map(_target, section.targets))
    domain = section.domain or targets[0].host
    credentials = None
    if section.user is not None and section.password is not None:
        credentials = Credentials(section.user, section.password.get_secret_value(), section.realm or domain)
    register = section.registration
    return Outbound(
        targets=targets,
        identity=Identity(
            domain=domain,
            number=section.number,
            show_caller=section.show_caller,
            asserted=section.assert_identity,
            rules=_rules(section.caller),
        ),
        called=_rules(section.called),
        credentials=credentials,
        registering=None if register is None else Registering(register.expires),
        contact="" if register is None else register.contact or "",
        health=Health(every=section.health.every, failures=section.health.failures),
    )


def _target(section: sections.TrunkTarget) -> Target:
    """Port and transport of an address are known; those of a name are left to DNS when they are not given."""
    transport, port = section.transport or "", section.port or 0
    if port or parse_ip(section.host) is not None:
        transport = transport or "udp"
        port = port or PORTS[transport]
    return Target(section.host, port, transport, section.priority, section.weight)


def _rules(rules: list[sections.NumberRule]) -> tuple[Rule, ...]:
    made = []
    for rule in rules:
        least, _, most = rule.length.partition("-")
        made.append(
            Rule(
                prefix=rule.prefix,
                strip=rule.strip,
                prepend=rule.prepend,
                min_length=int(least),
                max_length=int(most or least),
                refuse=rule.refuse,
            )
        )
    return tuple(made)


def before(trunk: LiveTrunk, now: float) -> Before:
    """What the log says of a trunk. now: UTC seconds."""
    down = tuple((target, max(0.0, now - since)) for target, since in trunk.targets_down.items())
    return Before(None if trunk.down_since is None else max(0.0, now - trunk.down_since), down)
