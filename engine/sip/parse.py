"""Bytes to messages (RFC 3261 §7, §18.3). One pass over the header section; values stay text until asked for.

What is checked here, so that later code need not: no control characters but in quoted pairs; at most MAX_HEADERS lines
of MAX_LINE characters; the mandatory headers are there, once, and well-formed; the CSeq method is the request's; the
Request-URI is a URI; the body is as long as Content-Length says.

Text is UTF-8; a message that is not is read as Latin-1, since phones with old firmware send such display names.
"""

import re

from engine.sip.grammar import (
    HOST,
    LWS,
    MAX_HEADERS,
    MAX_LINE,
    MAX_MESSAGE,
    PARAM_RE,
    TOKEN,
    BadHeader,
    ParseError,
    with_crlf,
)
from engine.sip.headers import check_name_addr, parse_via
from engine.sip.message import Headers, Request, Response, stateless_tag, with_tag
from engine.sip.names import KNOWN_NAMES, canonical

_REQUEST_LINE_RE = re.compile(rf"({TOKEN}++) ([^ ]++) [sS][iI][pP]/([0-9]++\.[0-9]++)")
_STATUS_LINE_RE = re.compile(r"[sS][iI][pP]/([0-9]++\.[0-9]++) ([1-6][0-9][0-9])(?: (.*))?")
_HEADER_RE = re.compile(rf"({TOKEN}++){LWS}:")
_FOLD_RE = re.compile(r"\r\n[ \t]++")
_CONTROL = bytes((*range(9), *range(10, 32), 127))  # all but HTAB
_CONTROL_RE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# A line without control characters but in quoted pairs, which may hold any octet except CR and LF (§25.1). A quote that
# never closes is taken to the end of the line, so that no octet is looked at twice.
_CLEAN_RE = re.compile(
    r'(?:[^"\x00-\x08\x0a-\x1f\x7f]++|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[^\r\n])*+(?:"|\Z))*+', re.DOTALL
)

# The start of a Via as a sender would write it whose version or parameters are wrong: enough to answer him.
_ROUGH_VIA_RE = re.compile(
    rf"[A-Za-z]++{LWS}/{LWS}[0-9.]++{LWS}/{LWS}({TOKEN}++)[ \t]++({HOST}(?:{LWS}:{LWS}[0-9]++)?+)"
)

_MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")
# Fields that may occur once only (§7.3.1: no comma-separated list in their grammar).
_SINGLE = frozenset(
    {
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Max-Forwards",
        "Content-Length",
        "Content-Type",
        "Expires",
        "Min-Expires",
        "Date",
        "Timestamp",
        "Refer-To",
        "Replaces",
        "Session-Expires",
        "RAck",
        "RSeq",
        "Event",
    }
)


def parse(data: bytes) -> Request | Response:
    """One message that fills a datagram, or that a StreamFramer cut out. Line ends before the start line are ignored
    (§7.5); octets after the body are cut off (§18.3). In the header section a bare LF ends a line too.

    Raises ParseError, and nothing else, whatever the data."""
    if len(data) > MAX_MESSAGE:
        raise ParseError("Message Too Large", 513)
    if data[:2] == b"\r\n" or data[:1] == b"\n":
        data = data.lstrip(b"\r\n")
    data = with_crlf(data)
    end = data.find(b"\r\n\r\n")
    lines = _decode(data if end < 0 else data[:end]).split("\r\n")
    try:
        if end < 0:
            raise ParseError("Header Section Not Ended", offset=len(data))
        lines = _clean(data[:end], lines)
        message = _message(lines)
        message.body = _body(message.headers, data[end + 4 :])
    except ParseError as error:
        if error.reply_headers is None:
            error.reply_headers = _salvage(lines)
        raise
    return message


def parse_request(data: bytes) -> Request:
    """As `parse`; a response raises ParseError too."""
    message = parse(data)
    if not isinstance(message, Request):
        raise ParseError("Not a Request")
    return message


def parse_response(data: bytes) -> Response:
    """As `parse`; a request raises ParseError too."""
    message = parse(data)
    if not isinstance(message, Response):
        raise ParseError("Not a Response")
    return message


def bad_request(error: ParseError) -> bytes | None:
    """The answer to a message that parse refused, to be sent to where it came from; None when it must be dropped:
    a response, an ACK, or without a Via that says whose transaction it is.

    Equal messages get equal answers (the To tag is made from the headers), as §8.2.7 asks of a stateless UAS."""
    headers = error.reply_headers
    if headers is None or headers.get("Via") is None:
        return None
    tag = stateless_tag(headers)
    items = [(name, with_tag(value, tag) if name == "To" else value) for name, value in headers.items()]
    return Response(error.status, error.reason, Headers.of(items)).encode()


def refuse(head: bytes, status: int, reason: str) -> bytes | None:
    """The answer to a message of which only the header section is here (StreamFramer gave up on it)."""
    return bad_request(ParseError(reason, status, reply_headers=_salvage(_decode(with_crlf(head)).split("\r\n"))))


def _decode(head: bytes) -> str:
    try:
        return head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1")


def _clean(head: bytes, lines: list[str]) -> list[str]:
    """The lines with folding undone (§7.3.1). Raises ParseError for control characters outside quoted pairs, and for
    every CR or LF that is not a line end."""
    if len(head) - len(head.translate(None, _CONTROL)) != 2 * (len(lines) - 1):
        offset = 0
        for line in lines:
            match = _CLEAN_RE.match(line)
            if match is None or match.end() < len(line):
                raise ParseError("Control Character", offset=offset + (match.end() if match else 0))
            offset += len(line) + 2
    if b"\r\n " in head or b"\r\n\t" in head:
        return _FOLD_RE.sub(" ", "\r\n".join(lines)).split("\r\n")
    return lines


def _message(lines: list[str]) -> Request | Response:
    start = lines[0]
    match = _REQUEST_LINE_RE.fullmatch(start)
    if match is not None:
        method, uri, version = match.groups()
        if version != "2.0":
            raise ParseError("Version Not Supported", 505, offset=match.start(3))
        request = Request(method, uri, _headers(lines))
        _check_request(request)
        return request
    match = _STATUS_LINE_RE.fullmatch(start)
    if match is None:
        raise ParseError("Bad Start Line")
    version, status, reason = match.groups()
    if version != "2.0":
        raise ParseError("Version Not Supported", 505)
    response = Response(int(status), reason or "", _headers(lines))
    _check_common(response)
    return response


def _headers(lines: list[str]) -> Headers:
    """Header lines (all but the first) as fields."""
    if len(lines) > MAX_HEADERS + 1:
        raise ParseError("Too Many Headers")
    items: list[tuple[str, str]] = []
    known = KNOWN_NAMES.get
    for line in lines[1:]:
        if len(line) > MAX_LINE:
            raise ParseError("Header Too Long", offset=_offset(lines, len(items) + 1))
        written, colon, value = line.partition(":")
        name = known(written)
        if name is None or not colon:
            match = _HEADER_RE.match(line)
            if match is None:
                raise ParseError("Bad Header Line", offset=_offset(lines, len(items) + 1))
            name = canonical(match[1])
        items.append((name, value.strip(" \t")))
    return Headers.of(items)


def _check_request(request: Request) -> None:
    if request.headers.get("Max-Forwards") is not None:
        _ = request.max_forwards
    if request.request_uri.headers:
        raise BadHeader("Request-URI")  # §19.1.1: it may not have any, and what they ask for must not be done
    _check_common(request)
    if request.cseq.method != request.method:
        raise BadHeader("CSeq")
    if request.method == "REGISTER":  # an INVITE's is looked at where its call is made, or refused and logged
        for contact in request.headers.elements("Contact"):
            if contact != "*":
                check_name_addr(contact, "Contact")


def _check_common(message: Request | Response) -> None:
    headers = message.headers
    for name in _MANDATORY:
        if not headers.get(name):
            raise ParseError(f"Missing {name}")
    _check_single(headers)
    _ = message.via, message.cseq
    for name in ("From", "To"):
        check_name_addr(headers.get(name) or "", name)


def _check_single(headers: Headers) -> None:
    if not headers.repeats:
        return
    names = [name for name, _ in headers.items()]
    for name in _SINGLE.intersection(names):
        if names.count(name) > 1:
            raise ParseError(f"Repeated {name}")


def _body(headers: Headers, rest: bytes) -> bytes:
    """What follows the header section, as long as Content-Length says (§18.3); all of it when it says nothing."""
    text = headers.get("Content-Length")
    if text is None:
        return rest
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise BadHeader("Content-Length")
    length = int(text)
    if length > len(rest):
        raise ParseError("Body Shorter Than Content-Length")
    return rest[:length] if length < len(rest) else rest


def _salvage(lines: list[str]) -> Headers | None:
    """What an answer must repeat, from a request that is wrong somewhere; None when no answer may be sent."""
    start = lines[0].split(" ", 1)[0]
    if start.upper() in ("ACK", "") or start.upper().startswith("SIP/"):
        return None
    items = []
    for line in lines[1 : MAX_HEADERS + 1]:
        name, colon, value = line.partition(":")
        name = canonical(name.rstrip(" \t"))
        value = _CONTROL_RE.sub(" ", value).strip(" \t")
        if colon and name in _MANDATORY and len(value) <= MAX_LINE:
            items.append((name, value))
    headers = Headers.of(items)
    if not _mend_via(headers):
        return None
    for name in ("From", "To", "Call-ID", "CSeq"):
        if values := headers.all(name):
            headers.set(name, values[0])
    return headers


def _mend_via(headers: Headers) -> bool:
    """Whether the topmost Via says where an answer belongs. One whose version or parameters are wrong is cut down to
    what can be read, so that the answer is in order itself."""
    values = headers.all("Via") or [""]
    try:
        first = (headers.elements("Via") or [""])[0]
    except BadHeader:  # a list without end
        return False
    try:
        parse_via(first)
    except BadHeader:
        match = _ROUGH_VIA_RE.match(first)
        if match is None:
            return False
        params = "".join(f";{name}={value}" if value else f";{name}" for name, value in PARAM_RE.findall(first))
        headers.remove("Via")
        for value in (f"SIP/2.0/{match[1]} {match[2]}{params}", *values[1:]):
            headers.add("Via", value)
    return True


def _offset(lines: list[str], index: int) -> int:
    """Octets (characters, to be exact) before line `index`."""
    return sum(len(line) + 2 for line in lines[:index])
