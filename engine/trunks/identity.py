"""Who we say is calling through a trunk, and what we ask the operator to hide (RFC 3323, RFC 3325). Pure."""

from dataclasses import dataclass

from engine.sip.headers import NameAddr
from engine.sip.uri import sip_uri
from engine.trunks.rewrite import Rule, is_number, rewrite

ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
"""RFC 3323 §4.1.1.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """number: ours, in E.164: the operator knows it and bills it; "": none."""

    domain: str
    number: str = ""
    show_caller: bool = False
    """True: From names the caller whose call this leg is for; False: our own number."""
    asserted: bool = False
    """Send P-Asserted-Identity with our number: only where the operator trusts us (RFC 3325 §9.1)."""
    rules: tuple[Rule, ...] = ()
    """E.164 → what the operator wants to see."""


@dataclass(frozen=True, slots=True)
class Shown:
    from_: str
    """From, without its tag."""
    headers: tuple[tuple[str, str], ...]


def shown(identity: Identity, caller: str) -> Shown:
    """caller: number of the caller behind this leg, "" when withheld: then nobody learns it, nor who relays it."""
    headers: list[tuple[str, str]] = []
    own = _address(identity, identity.number) if identity.number else ""
    if identity.show_caller and not caller:
        from_ = ANONYMOUS
        headers.append(("Privacy", "id"))
    elif identity.show_caller and is_number(caller):
        from_ = _address(identity, caller)
    else:
        from_ = own or ANONYMOUS
    if identity.asserted and own:
        headers.append(("P-Asserted-Identity", own))
    return Shown(from_, tuple(headers))


def _address(identity: Identity, number: str) -> str:
    return str(NameAddr("", sip_uri(rewrite(number, identity.rules) or "anonymous", identity.domain)))
