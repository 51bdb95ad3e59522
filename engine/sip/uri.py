"""SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), and any other URI as an opaque text."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote as percent_decode

from engine.sip.grammar import HOST, BadHeader, printable

_ESCAPED = r"%[0-9A-Fa-f]{2}"
# §25.1: user = 1*( unreserved / escaped / user-unreserved ). Wider: `#`, since phones dial `sip:*11#@host`.
_USER = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|{_ESCAPED})"
_PASSWORD = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|{_ESCAPED})"
# §25.1: paramchar = param-unreserved / unreserved / escaped
_PARAM = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|{_ESCAPED})"
# §25.1: headers. Kept as one raw text; only the characters are checked.
_HEADERS = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$&=]|{_ESCAPED})"

# Wider: the user may be empty (`sip:@host`), as gateways write a withheld number; it is then None.
SIP_URI = (
    rf"([sS][iI][pP][sS]?):(?:({_USER}*+)(?::({_PASSWORD}*+))?@)?({HOST})(?::([0-9]{{1,5}}+))?+"
    rf"((?:;{_PARAM}++(?:={_PARAM}++)?+)*+)(?:\?({_HEADERS}*+))?+"
)
_SIP_URI_RE = re.compile(SIP_URI)
# RFC 3966 §3: the number, global or local, then parameters. Letters: local numbers may have hexadecimal digits.
_TEL_RE = re.compile(rf"[tT][eE][lL]:([0-9A-Fa-f*#+\-.()]++)((?:;{_PARAM}++(?:={_PARAM}++)?+)*+)")
# absoluteURI: all that a URI may hold, and nothing that could end it early where it is written.
_OTHER_RE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([A-Za-z0-9\-_.!~*'();/?:@&=+$,%\[\]#]++)")
_USER_RE = re.compile(rf"{_USER}++")
_PASSWORD_RE = re.compile(rf"{_PASSWORD}*+")
_PARAM_RE = re.compile(rf"{_PARAM}++")
_HEADERS_RE = re.compile(rf"{_HEADERS}*+")
_HOST_RE = re.compile(r"[A-Za-z0-9_.\-]++|[0-9A-Fa-f:.]++")
_NOT_HOST_RE = re.compile(r"[^A-Za-z0-9_.\-]")
_ESCAPED_RE = re.compile(_ESCAPED)
_UNSAFE_RE = re.compile(r"[^A-Za-z0-9\-_.!~*'()]")
_SEPARATORS_RE = re.compile(r"[-.()]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")

Params = tuple[tuple[str, str | None], ...]


class Uri(NamedTuple):
    """One URI. Build from outside text only through `sip_uri`, or trust str() to escape what does not belong.

    user, password: as written, but for needless escapes (`%31` is `1`); `username` decodes all.
    host: without the brackets of an IPv6 reference. For a scheme other than sip, sips, tel: all after the colon.
    params: names in lower case, values as written. headers: the text after `?`, as written.
    Equality is by characters; `same_uri` compares as RFC 3261 §19.1.4 says.
    """

    scheme: str
    user: str | None = None
    password: str | None = None
    host: str = ""
    port: int | None = None
    params: Params = ()
    headers: str = ""

    @property
    def username(self) -> str:
        """The user part with all escapes undone and control characters gone: for people and for look-up."""
        return printable(percent_decode(self.user or "", errors="replace"))

    def param(self, name: str) -> str | None:
        """The value of a parameter ("" for one without value), None when absent."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def with_params(self, **params: str | None) -> "Uri":
        """A copy with these parameters set (`lr=None` gives `;lr`)."""
        kept = tuple((key, value) for key, value in self.params if key not in params)
        return self._replace(params=kept + tuple(params.items()))

    @property
    def bare(self) -> "Uri":
        """Scheme, user, host and port only: an address of record (§10.3 step 5)."""
        return Uri(self.scheme, self.user, None, self.host, self.port)

    def __str__(self) -> str:
        scheme, user, password, host, port, params, headers = self
        if scheme not in ("sip", "sips"):
            return self._other()
        if user:
            user = _clean(user, _USER_RE)
            if password is not None:
                user = f"{user}:{_clean(password, _PASSWORD_RE)}"
            user += "@"
        text = f"{scheme}:{user or ''}{format_host(host)}"
        if port is not None:
            text += f":{port}"
        if params:
            text += _format(params)
        return f"{text}?{_clean(headers, _HEADERS_RE)}" if headers else text

    def _other(self) -> str:
        text = f"{self.scheme}:{self.user or ''}{self.host}{_format(self.params)}"
        if _OTHER_RE.fullmatch(text):
            return text
        return f"{_UNSAFE_RE.sub('', self.scheme) or 'invalid'}:{escape(text.partition(':')[2])}"


def format_host(host: str) -> str:
    """A host as it is written: IPv6 in brackets; without the characters that no host has."""
    if not _HOST_RE.fullmatch(host):
        host = _NOT_HOST_RE.sub("", host) or "invalid"
    return f"[{host}]" if ":" in host else host


def escape(text: str) -> str:
    """Percent-encode all but the unreserved characters (§19.1.2), over UTF-8."""
    return _UNSAFE_RE.sub(lambda m: "".join(f"%{octet:02X}" for octet in m[0].encode(errors="replace")), text)


def sip_uri(user: str | None, host: str, port: int | None = None, **params: str | None) -> Uri:
    """A sip: URI from plain text: `user` is escaped whatever it holds, but for the + of E.164: `%2B` does not equal it
    (§19.1.4). host: no brackets."""
    return Uri("sip", escape(user).replace("%2B", "+") if user else None, None, host, port, tuple(params.items()))


@lru_cache(maxsize=1024)
def parse_uri(text: str) -> Uri:
    """Parse any URI. Raises BadHeader("URI") when it is none, or a sip/sips/tel one with a fault.

    Kept for the next message: those of a call, and all calls to a number, repeat them."""
    match = _SIP_URI_RE.fullmatch(text)
    if match is None:
        return _parse_other(text)
    scheme, user, password, host, port, params, headers = match.groups()
    if not user:
        user = password = None
    elif "%" in user or "#" in user:
        user = _normal(user)
    if host[0] == "[":
        host = host[1:-1]
    number = None
    if port is not None:
        number = int(port)
        if number > 65_535:
            raise BadHeader("URI port", match.start(5))
    return Uri(scheme.lower(), user, password, host, number, _split(params), headers or "")


def _parse_other(text: str) -> Uri:
    if match := _TEL_RE.fullmatch(text):
        return Uri("tel", match[1], params=_split(match[2]))
    match = _OTHER_RE.fullmatch(text)
    if match is None or match[1].lower() in ("sip", "sips", "tel"):
        raise BadHeader("URI")
    return Uri(match[1].lower(), host=match[2])


def same_uri(a: Uri, b: Uri) -> bool:
    """Equal by RFC 3261 §19.1.4: scheme, host, parameter names and values without case; user and password with; a
    missing port is not 5060; user, ttl, method and maddr must be on both sides, other parameters only where both have
    them; headers must be equal in any order. tel: by RFC 3966 §4, visual separators not counting."""
    if a.scheme != b.scheme:
        return False
    if a.scheme == "tel":
        numbers = (_SEPARATORS_RE.sub("", (uri.user or "")).lower() for uri in (a, b))
        return len(set(numbers)) == 1 and _lower(a.params) == _lower(b.params)
    if a.scheme not in ("sip", "sips"):
        return a.host == b.host
    if (a.user, a.password, a.port) != (b.user, b.password, b.port) or a.host.lower() != b.host.lower():
        return False
    return _same_params(_lower(a.params), _lower(b.params)) and _split_headers(a) == _split_headers(b)


def _same_params(a: dict[str, str], b: dict[str, str]) -> bool:
    if any(name in ("user", "ttl", "method", "maddr", "transport") for name in a.keys() ^ b.keys()):
        return False
    return all(a[name] == b[name] for name in a.keys() & b.keys())


def _lower(params: Params) -> dict[str, str]:
    return {name: _normal(value or "").lower() for name, value in params}


def _split_headers(uri: Uri) -> list[str]:
    return sorted(_normal(header) for header in uri.headers.split("&")) if uri.headers else []


def _split(text: str) -> Params:
    out: list[tuple[str, str | None]] = []
    if not text:
        return ()
    for part in text[1:].split(";"):
        name, equals, value = part.partition("=")
        out.append((name.lower(), value if equals else None))
    return tuple(out)


def _format(params: Params) -> str:
    out = ""
    for name, value in params:
        if not name:
            continue
        out += f";{_clean(name, _PARAM_RE)}"
        if value:
            out += f"={_clean(value, _PARAM_RE)}"
    return out


def _clean(text: str, allowed: re.Pattern[str]) -> str:
    return text if allowed.fullmatch(text) else escape(text)


def _normal(text: str) -> str:
    """Needless escapes undone, needed ones in upper case, `#` escaped."""
    if "%" in text:
        text = _ESCAPED_RE.sub(_decode, text)
    return text.replace("#", "%23")


def _decode(match: re.Match[str]) -> str:
    character = chr(int(match[0][1:], 16))
    return character if character in _UNRESERVED else match[0].upper()
