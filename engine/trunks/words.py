"""What a trunk's requests and their answers have in common. Pure."""

from engine.sip.grammar import BadHeader
from engine.sip.message import Response
from engine.sip.uri import sip_uri
from engine.trunks.targets import Target

WHY_MAX = 200
"""Characters of a reason that goes into an event: some come from the peer."""
SECONDS_MAX = 86_400


def target_uri(target: Target, user: str = "") -> str:
    """Request-URI at a target. What DNS was left to say is not said (RFC 3263 §4.1)."""
    uri = sip_uri(user or None, target.host, target.port or None)
    return str(uri if target.transport in ("", "udp") else uri.with_params(transport=target.transport))


def retry_after_of(response: Response) -> float:
    """Seconds of Retry-After; 0 for none (RFC 3261 §20.33: a comment and parameters may follow)."""
    return float(whole((response.headers.get("Retry-After") or "").partition("(")[0].partition(";")[0]))


def granted_of(response: Response) -> float | None:
    """What a registrar gave: the least of its Contacts' expires parameters (they are ours, or those of another of our
    servers), else its Expires header; None when it does not say."""
    try:
        given = [whole(contact.params.get("expires")) for contact in response.contacts]
        return min(filter(None, given), default=None) or response.expires
    except BadHeader:
        return None


def whole(text: str | None) -> int:
    """Digits as a number of seconds, a day at most; 0 for anything else."""
    digits = (text or "").strip()
    if not (digits.isascii() and digits.isdigit()):
        return 0
    return min(int(digits), SECONDS_MAX) if len(digits) <= 10 else SECONDS_MAX
