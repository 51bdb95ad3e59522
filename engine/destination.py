"""Where an INVITE of ours goes, and as whom: a phone that registered with us, or a number through a trunk."""

from dataclasses import dataclass

from engine.line import Line, address
from engine.media.profile import USUAL, MediaProfile
from engine.sip.flow import Flow
from engine.sip.headers import NameAddr
from engine.sip.registrar import Binding
from engine.sip.uri import sip_uri
from engine.trunks.credentials import Credentials
from engine.trunks.identity import shown
from engine.trunks.model import Outbound, Trunk
from engine.trunks.targets import Target
from engine.trunks.words import target_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One target of one INVITE. Texts are header values, escaped already."""

    flow: Flow
    uri: str
    """Request-URI."""
    to: str
    from_: str
    """Without tag."""
    sips: bool = False
    """The phone registered a SIPS URI."""
    routes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    trunk: str = ""
    target: Target | None = None
    """Of the trunk …"""
    tried: tuple[Target, ...] = ()
    """… and those that had their turn before it."""
    phone: str = ""
    """User of the phone of ours."""
    profile: MediaProfile = USUAL
    credentials: Credentials | None = None
    """With them a challenge for their realm is answered; without, none ever is."""


def to_phone(line: Line, binding: Binding, caller: str, display: str) -> Destination:
    """A phone of ours, where it registered. Caller and display may hold anything."""
    domain = line.settings.domain
    return Destination(
        flow=line.flow_of_binding(binding),
        uri=str(binding.contact._replace(headers="")),  # §19.1.1: no headers in a Request-URI
        to=address(binding.aor, domain),
        from_=address(caller or "anonymous", domain, display),
        sips=binding.contact.scheme == "sips",
        routes=tuple(binding.path),
        phone=binding.aor,
    )


def through_trunk(
    trunk: Trunk, outbound: Outbound, target: Target, flow: Flow, number: str, caller: str
) -> Destination:
    """number: as the operator wants it. caller: "" when withheld. What the site knows of the caller besides his number
    is for its agents' screens, and is not told to an operator."""
    who = shown(outbound.identity, caller)
    return Destination(
        flow=flow,
        uri=target_uri(target, number),
        to=str(NameAddr("", sip_uri(number, outbound.identity.domain))),
        from_=who.from_,
        headers=who.headers,
        trunk=trunk.name,
        profile=trunk.profile,
        credentials=outbound.credentials,
    )
