"""The grammar of RFC 3261 §25.1, as far as it is one of characters; limits; the faults that a peer can make.

Every repetition is possessive (`++`, `*+`): a pattern never goes back over what it took, so matching is linear in the
input whatever that input is.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sip.message import Headers

# Limits on what a peer may send. Precedents: a UDP datagram holds 65 507 octets; h11, nginx and Kamailio stop a header
# line at 8 KB; 100 headers is twice what a call through ten Record-Routing proxies needs.
MAX_MESSAGE = 65_535
MAX_HEADERS = 100
MAX_LINE = 8_192
MAX_ELEMENTS = 100  # values of one comma-separated header

# §25.1: token
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]"  # noqa: S105  a character class, no secret
# §25.1: quoted-string. qdtext is wider here: any character but `"` and `\` (real phones put raw Latin-1 there).
QUOTED = r'"(?:[^"\\]|\\.)*+"'
# gen-value is token / host / quoted-string. Wider here: tags with `/`, `=`, `|` are about and are echoed as they are.
VALUE = r"[^\s;,\"<>\x00-\x20\x7f]"
# §25.1: LWS, once header folding has been undone
LWS = r"[ \t]*+"
# *( SEMI generic-param )
PARAMS = rf"(?:{LWS};{LWS}{TOKEN}++(?:{LWS}={LWS}(?:{QUOTED}|{VALUE}++))?+)*+{LWS}"
# hostname / IPv4address / IPv6reference. Wider: `_` occurs in names of hosts.
HOST = r"(?:[A-Za-z0-9_.\-]++|\[[0-9A-Fa-f:.]++\])"

TOKEN_RE = re.compile(rf"{TOKEN}++")
VALUE_RE = re.compile(rf"{QUOTED}|{VALUE}++", re.DOTALL)
PARAM_RE = re.compile(rf"{LWS};{LWS}({TOKEN}++)(?:{LWS}={LWS}({QUOTED}|{VALUE}++))?+", re.DOTALL)
QUOTED_PAIR_RE = re.compile(r"\\(.)", re.DOTALL)
# C0 and C1 controls, line and paragraph separators, lone surrogates: what no log, screen or database may see.
UNPRINTABLE_RE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LINE_BREAK_RE = re.compile(r"[\r\n]+")
# What ends or hides an element of a comma-separated list: `,` outside quotes and angle brackets.
ELEMENT_RE = re.compile(rf'(?:{QUOTED}|<[^>]*+>|[^",<]++)++', re.DOTALL)

# A line of the header section ends by CRLF (§25.1); a bare LF is taken for it, since some send it (baresip behind
# RAck). One rule for datagrams and streams, and everything behind it sees CRLF alone.
_LINE_END_RE = re.compile(rb"\r?\n")


def head_end(data: bytes | bytearray, begin: int = 0) -> tuple[int, int]:
    """The first empty line at or after `begin`: where the header section ends, and where the body begins; -1: none."""
    end = data.find(b"\n\r\n", begin)
    shorter = data.find(b"\n\n", begin, len(data) if end < 0 else end + 1)  # it may end where the longer begins
    body = shorter + 2 if shorter >= 0 else end + 3
    end = shorter if shorter >= 0 else end
    if end < 0:
        return -1, -1
    return (end - 1 if data[end - 1 : end] == b"\r" else end), body


def with_crlf(data: bytes) -> bytes:
    """A message, or the head of one, whose header section has no bare LF any more. The body is as it was."""
    end = data.find(b"\r\n\r\n")
    last = len(data) if end < 0 else end
    if data.count(b"\n", 0, last) == data.count(b"\r\n", 0, last):
        return data
    end, body = head_end(data)
    if end < 0:
        return _LINE_END_RE.sub(b"\r\n", data)
    return _LINE_END_RE.sub(b"\r\n", data[:end]) + b"\r\n\r\n" + data[body:]


class ParseError(Exception):
    """The peer's fault: bytes that are no SIP message, or a header whose value is wrong.

    status, reason: what to answer, when an answer is allowed at all.
    offset: octets from the start of the message (of the header value in BadHeader), a hint for people.
    reply_headers: Via, From, To, Call-ID, CSeq as far as they were found; None when no answer may be sent.
    """

    def __init__(self, reason: str, status: int = 400, offset: int = 0, reply_headers: "Headers | None" = None) -> None:
        super().__init__(f"{reason} (at {offset})")
        self.status = status
        self.reason = reason
        self.offset = offset
        self.reply_headers = reply_headers


class BadHeader(ParseError):
    """One header field, or URI, has a value that the grammar does not allow."""

    def __init__(self, name: str, offset: int = 0) -> None:
        super().__init__(f"Bad {name}", offset=offset)
        self.name = name


def printable(text: str, limit: int = 256) -> str:
    """A peer's text made safe to store and show: every control character a space, at most `limit` characters."""
    return UNPRINTABLE_RE.sub(" ", text[:limit])


def quote(text: str) -> str:
    """A quoted-string of RFC 3261 §25.1. Whatever the text holds, the result is one line and one string."""
    clean = UNPRINTABLE_RE.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def unquote(text: str) -> str:
    """The content of a quoted-string; other text comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    return QUOTED_PAIR_RE.sub(r"\1", inner) if "\\" in inner else inner


def parse_params(text: str) -> dict[str, str | None]:
    """`;name=value;flag` (already matched by PARAMS) as a dict: names in lower case, quoted values with their quotes.

    Of a name given twice the first counts."""
    if not text:
        return {}
    params: dict[str, str | None] = {}
    for name, value in PARAM_RE.findall(text):
        params.setdefault(name.lower(), value or None)
    return params


def format_params(params: "dict[str, str | None]") -> str:
    """The inverse of parse_params. A value that needs quotes and has none gets them; a wrong name is left out."""
    out = ""
    for name, value in params.items():
        if not TOKEN_RE.fullmatch(name):
            continue
        if value is None:
            out += f";{name}"
        elif VALUE_RE.fullmatch(value) and not UNPRINTABLE_RE.search(value):
            out += f";{name}={value}"
        else:
            out += f";{name}={quote(unquote(value))}"
    return out


def split_elements(value: str) -> list[str]:
    """The elements of a comma-separated header value (§7.3.1). Commas in quotes or <> do not split; empty elements are
    left out; a quote or bracket that never closes stays in its element, for that element's parser to refuse.

    Raises BadHeader beyond MAX_ELEMENTS."""
    if "," not in value:
        return [value] if value else []
    out, position, length = [], 0, len(value)
    while position < length:
        match = ELEMENT_RE.match(value, position)
        end = match.end() if match else position
        if end < length and value[end] != ",":  # an unbalanced quote or bracket: the rest is one element
            end = length
        if element := value[position:end].strip(" \t"):
            out.append(element)
        position = end + 1
    if len(out) > MAX_ELEMENTS:
        raise BadHeader("list: too many values")
    return out
