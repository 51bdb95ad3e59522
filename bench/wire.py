"""Just enough of SIP's text (RFC 3261 §7) to load a server: quick, lenient, and sharing nothing with engine/,
so that a mistake of the engine cannot hide behind the same mistake here."""

import hashlib
import secrets
from dataclasses import dataclass, field

COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
}
CRLF = "\r\n"


@dataclass(slots=True)
class Message:
    """A request (`status` 0) or a response. Field names are lower case, values raw, in order of appearance."""

    status: int
    method: str
    """Of a response: that of its CSeq."""
    uri: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def get(self, name: str) -> str:
        """First value, "" when absent."""
        values = self.fields.get(name)
        return values[0] if values else ""

    @property
    def branch(self) -> str:
        return parameter(self.get("via"), "branch")

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def sequence(self) -> int:
        return int(self.get("cseq").split()[0])


def parse(data: bytes) -> Message | None:
    """One datagram; None for a keep-alive or what cannot be read."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split(CRLF)
    fields: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields.setdefault(COMPACT.get(name, name), []).append(value.strip())
    start = lines[0].split(" ", 2)
    if len(start) < 3 or "cseq" not in fields:
        return None
    if start[0] == "SIP/2.0":
        return Message(int(start[1]), fields["cseq"][0].split()[-1], "", fields, body)
    return Message(0, start[0], start[1], fields, body)


def parameter(value: str, name: str) -> str:
    """`;name=value` of a header value, "" when absent."""
    for part in value.split(";")[1:]:
        key, _, text = part.partition("=")
        if key.strip().lower() == name:
            return text.strip().rstrip(">")
    return ""


def address(value: str) -> str:
    """The URI of a name-addr or addr-spec, without the header's own parameters."""
    if "<" in value:
        return value.split("<", 1)[1].split(">", 1)[0]
    return value.split(";", 1)[0].strip()


def user(value: str) -> str:
    """User part of the URI in a From, To or request line."""
    return address(value).split(":", 1)[-1].split("@", 1)[0]


def host_port(uri: str) -> tuple[str, int]:
    """Where a URI points, 5060 by default. Names are not resolved."""
    rest = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].partition("?")[0]
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        return host, int(port[1:] or 5060) if port else 5060
    host, _, port = rest.partition(":")
    return host, int(port or 5060)


def token() -> str:
    return secrets.token_hex(8)


def request(
    method: str, uri: str, headers: list[tuple[str, str]], body: str = "", kind: str = "application/sdp"
) -> bytes:
    lines = [f"{method} {uri} SIP/2.0", *(f"{name}: {value}" for name, value in headers)]
    return _finish(lines, body, kind)


def response(
    to: Message, status: int, reason: str, *, tag: str, headers: list[tuple[str, str]], body: str = ""
) -> bytes:
    """Copies what RFC 3261 §8.2.6.2 says; `tag` goes on a To that has none."""
    lines = [f"SIP/2.0 {status} {reason}"]
    lines += [f"Via: {via}" for via in to.fields["via"]]
    lines += [f"Record-Route: {route}" for route in to.fields.get("record-route", [])]
    to_value = to.get("to")
    if tag and ";tag=" not in to_value:
        to_value += f";tag={tag}"
    lines += [f"From: {to.get('from')}", f"To: {to_value}", f"Call-ID: {to.call_id}", f"CSeq: {to.get('cseq')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return _finish(lines, body, "application/sdp")


def _finish(lines: list[str], body: str, kind: str) -> bytes:
    if body:
        lines.append(f"Content-Type: {kind}")
    lines.append(f"Content-Length: {len(body.encode())}")
    return (CRLF.join(lines) + CRLF + CRLF + body).encode()


def sdp(host: str, port: int, direction: str = "sendrecv", version: int = 1) -> str:
    """An offer or answer of PCMU, PCMA and telephone-event 101."""
    family = "IP6" if ":" in host else "IP4"
    return CRLF.join(
        [
            "v=0",
            f"o=load 1 {version} IN {family} {host}",
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP 0 8 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            f"a={direction}",
            "",
        ]
    )


def sdp_target(body: bytes) -> tuple[str, int] | None:
    """Host and port where the peer wants its audio; None without an audio line."""
    host, port = "", 0
    for line in body.decode("utf-8", "replace").splitlines():
        if line.startswith("c="):
            host = line.split()[-1]
        elif line.startswith("m=audio"):
            port = int(line.split()[1])
    return (host, port) if host and port else None


def answering(offer: bytes) -> str:
    """The direction that answers an offer's (RFC 3264 §6.1)."""
    mirrored = {b"sendonly": "recvonly", b"recvonly": "sendonly", b"inactive": "inactive"}
    return next((ours for theirs, ours in mirrored.items() if b"a=" + theirs in offer), "sendrecv")


def authorize(challenge: str, method: str, uri: str, user_name: str, password: str, count: int = 1) -> str:
    """Value of Authorization for one WWW-/Proxy-Authenticate value (RFC 7616 §3.4, qop auth or none)."""
    given = _directives(challenge)
    algorithm = given.get("algorithm", "MD5")
    make = hashlib.sha256 if algorithm.upper().startswith("SHA-256") else hashlib.md5

    def digest(text: str) -> str:
        return make(text.encode()).hexdigest()

    realm, nonce = given.get("realm", ""), given.get("nonce", "")
    ha1, ha2 = digest(f"{user_name}:{realm}:{password}"), digest(f"{method}:{uri}")
    parts = f'Digest username="{user_name}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm={algorithm}'
    if "qop" in given:
        cnonce, nc = token(), f"{count:08x}"
        answer = digest(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")
        parts += f', qop=auth, cnonce="{cnonce}", nc={nc}'
    else:
        answer = digest(f"{ha1}:{nonce}:{ha2}")
    if "opaque" in given:
        parts += f', opaque="{given["opaque"]}"'
    return f'{parts}, response="{answer}"'


def _directives(challenge: str) -> dict[str, str]:
    found, rest = {}, challenge.strip().partition(" ")[2]
    while rest:
        name, _, rest = rest.partition("=")
        if rest.startswith('"'):
            value, _, rest = rest[1:].partition('"')
            rest = rest.partition(",")[2]
        else:
            value, _, rest = rest.partition(",")
        found[name.strip().lower()] = value.strip()
    return found
