"""Values of the structured headers: Via, CSeq, and those that hold a name-addr (From, To, Contact, Route …).

parse_* raise BadHeader; str() of each gives one line that parses to an equal value, whatever strings it was built from.
"""

import re
from typing import NamedTuple

from engine.sip.grammar import (
    HOST,
    LWS,
    PARAMS,
    QUOTED,
    TOKEN,
    TOKEN_RE,
    BadHeader,
    format_params,
    parse_params,
    printable,
    quote,
    unquote,
)
from engine.sip.uri import SIP_URI, Uri, format_host, parse_uri

# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT, then parameters. An unquoted display name is *(token LWS); wider
# here: whatever can't be taken for something else, since phones write `Bob Müller <sip:…>`.
_NAME_ADDR_RE = re.compile(
    rf'{LWS}(?:({QUOTED}){LWS}|([^"<>,;:@\\\x00-\x08\x0a-\x1f]*+))<([^<>"\s]++)>({PARAMS})', re.DOTALL
)
# addr-spec without brackets: `;` begins header parameters, and `?` and `,` are not allowed (§20.10).
_ADDR_SPEC_RE = re.compile(rf'{LWS}([^\s<>",;?]++)({PARAMS})', re.DOTALL)
# The shape that nearly every From and To has. It accepts a subset of what parse_name_addr accepts; the groups are the
# port and the parameters, the only parts left to be checked.
_USUAL_RE = re.compile(rf"(?:{QUOTED}{LWS}|(?:{TOKEN}++{LWS})*+)<{SIP_URI}>({PARAMS})", re.DOTALL)
# sent-protocol LWS sent-by *( SEMI via-params ), §20.42
_VIA_RE = re.compile(
    rf"[sS][iI][pP]{LWS}/{LWS}2\.0{LWS}/{LWS}({TOKEN}++)[ \t]++({HOST})(?:{LWS}:{LWS}([0-9]{{1,5}}+))?+({PARAMS})",
    re.DOTALL,
)
_CSEQ_RE = re.compile(rf"([0-9]{{1,10}}+)[ \t]++({TOKEN}++)")
_MAX_CSEQ = 2**31 - 1  # §8.1.1.5


class CSeq(NamedTuple):
    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class NameAddr(NamedTuple):
    """display: decoded, without control characters; "" for none. params: header parameters, as parse_params gives."""

    display: str
    uri: Uri
    params: dict[str, str | None] = {}  # noqa: RUF012  never changed: values are replaced, not edited

    @property
    def tag(self) -> str | None:
        return self.params.get("tag")

    def with_tag(self, tag: str) -> "NameAddr":
        return self._replace(params={**self.params, "tag": tag})

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"


class Via(NamedTuple):
    """One hop. host: as in Uri, without brackets. port None: the transport's default."""

    transport: str
    """In capitals: UDP, TCP"""
    host: str
    port: int | None
    params: dict[str, str | None]

    @property
    def branch(self) -> str:
        """ "" when absent, as in messages of RFC 2543."""
        return self.params.get("branch") or ""

    @property
    def rport(self) -> int | None:
        """RFC 3581: the port once filled in; 0 when asked for and not yet filled in; None when not asked for."""
        if "rport" not in self.params:
            return None
        value = self.params["rport"] or ""
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else 0

    @property
    def received(self) -> str | None:
        """Address that the message came from (§18.2.1), without brackets (RFC 5118 §4.5 has both kinds)."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    def with_source(self, host: str, port: int) -> "Via":
        """As a server must note where the message came from: `received` when it differs from sent-by or when rport
        asks for it (RFC 3261 §18.2.1, RFC 3581 §4), and the value of rport."""
        asks = "rport" in self.params
        if not asks and host == self.host:
            return self
        params = {**self.params, "received": host}
        if asks:
            params["rport"] = str(port)
        return self._replace(params=params)

    def __str__(self) -> str:
        host = format_host(self.host)
        if self.port is not None:
            host = f"{host}:{self.port}"
        transport = self.transport if TOKEN_RE.fullmatch(self.transport) else "INVALID"
        return f"SIP/2.0/{transport} {host}{format_params(self.params)}"


def parse_cseq(text: str) -> CSeq:
    match = _CSEQ_RE.fullmatch(text)
    if match is None or (number := int(match[1])) > _MAX_CSEQ:
        raise BadHeader("CSeq")
    return CSeq(number, match[2])


def parse_via(text: str) -> Via:
    """One Via value; a list must be split before."""
    match = _VIA_RE.fullmatch(text)
    if match is None:
        raise BadHeader("Via")
    transport, host, port, params = match.groups()
    if host[0] == "[":
        host = host[1:-1]
    number = None if port is None else int(port)
    if number is not None and number > 65_535:
        raise BadHeader("Via port", match.start(3))
    return Via(transport.upper(), host, number, parse_params(params))


def parse_name_addr(text: str, name: str = "address") -> NameAddr:
    """One name-addr or addr-spec with parameters. `name`: the header, for the error."""
    match = _NAME_ADDR_RE.fullmatch(text)
    if match is not None:
        quoted, plain, uri, params = match.groups()
        display = unquote(quoted) if quoted else plain.strip()
    else:
        match = _ADDR_SPEC_RE.fullmatch(text)
        if match is None:
            raise BadHeader(name)
        uri, params = match.groups()
        display = ""
    if display and not display.isprintable():
        display = printable(display)
    try:
        parsed = parse_uri(uri)
    except BadHeader as error:
        raise BadHeader(name, error.offset) from error
    return NameAddr(display, parsed, parse_params(params))


def check_name_addr(text: str, name: str) -> None:
    """Raise BadHeader exactly when parse_name_addr would; several times cheaper on what phones send."""
    match = _USUAL_RE.fullmatch(text)
    if match is None or (match[5] is not None and int(match[5]) > 65_535):
        parse_name_addr(text, name)
