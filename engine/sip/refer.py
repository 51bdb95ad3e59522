"""REFER: what it asks for, and the messages that tell how it goes (RFC 3515; RFC 4488 without them; RFC 3891 for the
dialog that a Refer-To names)."""

from typing import Final, NamedTuple
from urllib.parse import unquote

from engine.sip.dialog import DialogId
from engine.sip.grammar import BadHeader
from engine.sip.headers import parse_name_addr
from engine.sip.message import Request
from engine.sip.names import REASONS

SIPFRAG: Final = "message/sipfrag;version=2.0"
SUBSCRIBED: Final = 180
"""Seconds that an implicit subscription may last, as told to the phone: longer than any ringing."""


class Refer(NamedTuple):
    user: str
    """Who is to be called: user part of the Refer-To URI."""
    host: str
    replaces: DialogId | None
    """The dialog of ours that the call is to be taken from: (Call-ID, our tag, the phone's tag)."""
    early_only: bool
    """Only while that dialog is early (RFC 3891 §6.1)."""
    silent: bool
    """`Refer-Sub: false`: the phone wants to hear nothing of it."""


def parse_refer(request: Request) -> Refer:
    """Raises BadHeader: 400."""
    values = request.headers.elements("Refer-To")
    if len(values) != 1:  # §2.4.2
        raise BadHeader("Refer-To")
    uri = parse_name_addr(values[0], "Refer-To").uri
    if uri.scheme not in ("sip", "sips"):
        raise BadHeader("Refer-To")
    silent = (request.headers.get("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"
    replaces = _replaces(uri.headers)
    dialog = None if replaces is None else parse_replaces(replaces)
    early_only = replaces is not None and is_early_only(replaces)
    return Refer(uri.username, uri.host, dialog, early_only, silent)


def parse_replaces(value: str) -> DialogId:
    """RFC 3891 §6.1. To the one who gets it, to-tag is his own. Raises BadHeader."""
    call_id, *params = (part.strip() for part in value.split(";"))
    tags: dict[str, str] = {}
    for param in params:
        name, _, tag = param.partition("=")
        if name.strip().lower() in tags:
            raise BadHeader("Replaces")
        tags[name.strip().lower()] = tag.strip()
    if not call_id or not tags.get("to-tag") or not tags.get("from-tag"):
        raise BadHeader("Replaces")
    return call_id, tags["to-tag"], tags["from-tag"]


def is_early_only(value: str) -> bool:
    return "early-only" in (part.strip().lower() for part in value.split(";")[1:])


def _replaces(headers: str) -> str | None:
    found = [value for name, _, value in (part.partition("=") for part in headers.split("&")) if _is_replaces(name)]
    if len(found) > 1:
        raise BadHeader("Refer-To")
    return unquote(found[0]) if found else None


def _is_replaces(name: str) -> bool:
    return unquote(name).strip().lower() == "replaces"


def sipfrag(status: int) -> bytes:
    """The body of a NOTIFY (§2.4.5): the status line that the referred request got."""
    return f"SIP/2.0 {status} {REASONS.get(status, 'Unknown')}\r\n".encode()


def subscription_state(status: int) -> str:
    """A final status ends the subscription (§2.4.7)."""
    return f"active;expires={SUBSCRIBED}" if status < 200 else "terminated;reason=noresource"
