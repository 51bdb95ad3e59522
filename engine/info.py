"""Keys in SIP INFO (RFC 6086 legacy usage): application/dtmf-relay and application/dtmf."""

from engine.sip.message import Request

KEYS = frozenset("0123456789*#ABCD")
BODY_LIMIT = 256
_BY_NUMBER = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
"""Signal values that name a key by its RFC 4733 event number."""


def info_digit(request: Request) -> str | None:
    """The key that an INFO carries (`Signal=5`, or `5` alone), None for others."""
    if len(request.body) > BODY_LIMIT:
        return None
    text = request.body.decode("ascii", "replace")
    if request.content_type == "application/dtmf":
        digit = text.strip()
    elif request.content_type == "application/dtmf-relay":
        fields = dict(line.replace(" ", "").lower().split("=", 1) for line in text.splitlines() if "=" in line)
        digit = fields.get("signal", "")
    else:
        return None
    digit = _BY_NUMBER.get(digit, digit.upper())
    return digit if digit in KEYS else None


def digit_info(digit: str) -> tuple[bytes, str]:
    """Body and content type of an INFO that presses a key."""
    return f"Signal={digit}\r\nDuration=160\r\n".encode(), "application/dtmf-relay"
