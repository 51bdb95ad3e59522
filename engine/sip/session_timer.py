"""Session timers (RFC 4028): what a request or response says of them, and what follows. Pure."""

from typing import Final, NamedTuple

from engine.sip.message import Headers, Request, Response

MIN_SE: Final = 90
"""Seconds; §4: no less may be asked for."""
USUAL: Final = 1800
MOST: Final = 86_400
_MARGIN: Final = 32.0


class Terms(NamedTuple):
    interval: int
    """Seconds."""
    ours: bool
    """We refresh; else the peer does."""

    def due(self, now: float) -> float:
        """When we refresh, or give the peer up: a little before the end (§10)."""
        if self.ours:
            return now + self.interval / 2
        return now + self.interval - min(_MARGIN, self.interval / 3)


def supports(message: Request | Response) -> bool:
    headers = message.headers
    return "timer" in [tag.lower() for tag in (*headers.elements("Supported"), *headers.elements("Require"))]


def too_small(request: Request) -> bool:
    """To be refused with 422 and Min-SE (§9). Who does not know timers can't be: a proxy put the header in."""
    asked = _session_expires(request)
    return asked is not None and asked[0] < MIN_SE and supports(request)


def as_uas(request: Request) -> Terms | None:
    """What we answer to an INVITE or UPDATE: as the peer wishes; if it has no wish but knows timers, we refresh. None:
    no timer (§9, table 2)."""
    known, asked = supports(request), _session_expires(request)
    if asked is None:
        return Terms(max(USUAL, min_se(request)), True) if known else None
    interval, refresher = asked
    return Terms(max(interval, MIN_SE), not known or refresher == "uas")


def as_uac(response: Response) -> Terms | None:
    """What a 2xx to our INVITE or UPDATE agreed to."""
    agreed = _session_expires(response)
    return None if agreed is None else Terms(max(agreed[0], MIN_SE), agreed[1] != "uas")


def tell(headers: Headers, terms: Terms) -> None:
    """Into our 2xx."""
    headers.add("Session-Expires", f"{terms.interval};refresher={'uas' if terms.ours else 'uac'}")
    if not terms.ours:
        headers.add("Require", "timer")


def min_se(message: Request | Response) -> int:
    """The peer's Min-SE, 0 for none."""
    value = (message.headers.get("Min-SE") or "").partition(";")[0].strip()
    return min(int(value), MOST) if value.isascii() and value.isdecimal() and len(value) < 10 else 0


def _session_expires(message: Request | Response) -> tuple[int, str] | None:
    """(seconds, refresher); None when there is none that can be read."""
    value, *params = [part.strip() for part in (message.headers.get("Session-Expires") or "").split(";")]
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        return None
    named = dict(part.lower().replace(" ", "").partition("=")[::2] for part in params)
    return min(int(value), MOST), named.get("refresher", "")
