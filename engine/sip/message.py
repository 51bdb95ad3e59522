"""Requests and responses: header fields as text, their values parsed when asked for.

Theory of operation. `Headers` keeps what came, in order, under canonical names. The accessors of a message parse a
value at first use and keep it beside the text it came from, so a changed header is parsed anew and an unused one never.
`encode()` is the only way out to the wire, and it lets no line break through: a value with one, wherever it came from,
is sent with a space in its place.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from engine.sip.grammar import LINE_BREAK_RE, BadHeader, split_elements
from engine.sip.headers import CSeq, NameAddr, Via, parse_cseq, parse_name_addr, parse_via
from engine.sip.names import REASONS, canonical
from engine.sip.uri import Uri, parse_uri

T = TypeVar("T")

_MAX_DELTA = 2**32 - 1  # §20.19: larger values are taken as this
# §8.2.6.2: what every response repeats from its request
_REPEATED = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_REPEATED_TRYING = _REPEATED | {"Timestamp"}  # §8.2.6.1
_REPEATED_DIALOG = _REPEATED | {"Record-Route"}  # §12.1.1
_DIALOG_METHODS = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY"})


class Headers:
    """Ordered multimap of header fields. Names: any case and compact form is understood; stored canonical.

    get() and `in` cost a dict look-up; every change costs one pass over the fields (≤ 100)."""

    __slots__ = ("_first", "_items")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = [(canonical(name), value) for name, value in items]
        self._first: dict[str, str] | None = None

    @classmethod
    def of(cls, items: list[tuple[str, str]]) -> "Headers":
        """Take over a list whose names are canonical already."""
        headers = cls.__new__(cls)
        headers._items = items
        headers._first = None
        return headers

    def get(self, name: str) -> str | None:
        """The first raw value."""
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self._items))
        value = first.get(name)
        return first.get(canonical(name)) if value is None else value

    @property
    def repeats(self) -> bool:
        """Some name occurs more than once."""
        if self._first is None:
            self._first = dict(reversed(self._items))
        return len(self._first) < len(self._items)

    def all(self, name: str) -> list[str]:
        """Raw values, one a header line."""
        name = canonical(name)
        return [value for key, value in self._items if key == name]

    def elements(self, name: str) -> list[str]:
        """Values one by one, comma-separated lists taken apart. Raises BadHeader when they are too many.

        Not for Authorization, WWW-Authenticate and Date, whose commas do not separate values."""
        return [element for value in self.all(name) for element in split_elements(value)]

    def set(self, name: str, value: str) -> None:
        """Replace all fields of this name by one, at the place of the first; at the end when there was none."""
        name = canonical(name)
        place = next((i for i, (key, _) in enumerate(self._items) if key == name), len(self._items))
        self.remove(name)
        self._items.insert(place, (name, value))

    def add(self, name: str, value: str) -> None:
        self._items.append((canonical(name), value))
        self._first = None

    def prepend(self, name: str, value: str) -> None:
        """Before all fields of this name; at the top when there is none."""
        name = canonical(name)
        place = next((i for i, (key, _) in enumerate(self._items) if key == name), 0)
        self._items.insert(place, (name, value))
        self._first = None

    def remove(self, name: str) -> None:
        name = canonical(name)
        self._items = [item for item in self._items if item[0] != name]
        self._first = None

    def remove_first(self, name: str) -> None:
        """Remove the first value: the first element only, when its line holds a list (popping a Via or Route)."""
        self._swap_first(canonical(name), None)

    def replace_first(self, name: str, value: str) -> None:
        """Put `value` for the first value: the first element only, when its line holds a list."""
        self._swap_first(canonical(name), value)

    def _swap_first(self, name: str, value: str | None) -> None:
        for place, (key, old) in enumerate(self._items):
            if key == name:
                rest = split_elements(old)[1:] if "," in old else []
                kept = rest if value is None else [value, *rest]
                self._items[place : place + 1] = [(name, ", ".join(kept))] if kept else []
                self._first = None
                return

    def items(self) -> list[tuple[str, str]]:
        return list(self._items)

    def copy(self) -> "Headers":
        return Headers.of(self._items.copy())

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


class Message:
    """What requests and responses share. Accessors raise BadHeader when the header is missing or its value is wrong,
    but for those typed `| None`, which give None when it is missing.

    After `parse` these never raise: via, from_, to, cseq, call_id, the tags, max_forwards, and request_uri."""

    __slots__ = ("_parsed", "body", "headers")

    headers: Headers
    body: bytes

    def __init__(self, headers: Headers | None, body: bytes) -> None:
        self.headers = Headers() if headers is None else headers
        self.body = body
        self._parsed: dict[str, tuple[str, Any]] = {}

    def _value(self, name: str, parse: Callable[[str], T]) -> T:
        """The parsed first value of a header, from the store when the text is still the one that was parsed."""
        text = self.headers.get(name)
        if text is None:
            raise BadHeader(name)
        known = self._parsed.get(name)
        if known is not None and known[0] == text:
            value: T = known[1]
            return value
        value = parse(text)
        self._parsed[name] = (text, value)
        return value

    @property
    def via(self) -> Via:
        """The topmost."""
        return self._value("Via", _first_via)

    @property
    def vias(self) -> list[Via]:
        return [parse_via(value) for value in self.headers.elements("Via")]

    @property
    def call_id(self) -> str:
        value = self.headers.get("Call-ID")
        if not value:
            raise BadHeader("Call-ID")
        return value

    @property
    def cseq(self) -> CSeq:
        return self._value("CSeq", parse_cseq)

    @property
    def from_(self) -> NameAddr:
        return self._value("From", _from)

    @property
    def to(self) -> NameAddr:
        return self._value("To", _to)

    @property
    def from_tag(self) -> str | None:
        return self.from_.tag

    @property
    def to_tag(self) -> str | None:
        return self.to.tag

    @property
    def contacts(self) -> list[NameAddr]:
        """Raises BadHeader for `*` too: only a registrar knows what to do with it."""
        return self._addresses("Contact")

    @property
    def routes(self) -> list[NameAddr]:
        return self._addresses("Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        return self._addresses("Record-Route")

    def _addresses(self, name: str) -> list[NameAddr]:
        return [parse_name_addr(value, name) for value in self.headers.elements(name)]

    @property
    def max_forwards(self) -> int | None:
        return self._number("Max-Forwards", 255)

    @property
    def expires(self) -> int | None:
        """Seconds; what is too large for 32 bits is 2**32 - 1."""
        return self._number("Expires", None)

    def _number(self, name: str, limit: int | None) -> int | None:
        text = self.headers.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise BadHeader(name)
        number = int(text) if len(text) <= 10 else _MAX_DELTA  # int() of thousands of digits is slow
        if limit is not None and number > limit:
            raise BadHeader(name)
        return min(number, _MAX_DELTA)

    @property
    def content_type(self) -> str:
        """Media type in lower case, without parameters; "" when there is no header."""
        value = self.headers.get("Content-Type")
        return "" if value is None else value.partition(";")[0].strip().lower()

    def _encode(self, start: str) -> bytes:
        lines = [start]
        lines += [f"{name}: {value}" for name, value in self.headers._items if name != "Content-Length"]
        head = "\r\n".join(lines)
        breaks = len(lines) - 1
        if head.count("\n") != breaks or head.count("\r") != breaks:
            head = "\r\n".join([LINE_BREAK_RE.sub(" ", line) for line in lines])
        return f"{head}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode(errors="replace") + self.body


class Request(Message):
    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers | None = None, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @property
    def request_uri(self) -> Uri:
        known = self._parsed.get("")
        if known is not None and known[0] == self.uri:
            uri: Uri = known[1]
            return uri
        uri = parse_uri(self.uri)
        self._parsed[""] = (self.uri, uri)
        return uri

    def encode(self) -> bytes:
        """The message as it goes out: long header names, Content-Length last."""
        return self._encode(f"{self.method} {self.uri} SIP/2.0")

    def copy(self) -> "Request":
        return Request(self.method, self.uri, self.headers.copy(), self.body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and _contents(self) == _contents(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.uri!r}, {self.headers!r}, {self.body!r})"


class Response(Message):
    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str | None = None, headers: Headers | None = None, body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = REASONS.get(status, "") if reason is None else reason

    def encode(self) -> bytes:
        """The message as it goes out: long header names, Content-Length last."""
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")

    def copy(self) -> "Response":
        return Response(self.status, self.reason, self.headers.copy(), self.body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Response) and _contents(self) == _contents(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.reason!r}, {self.headers!r}, {self.body!r})"


def reply(request: Request, status: int, reason: str | None = None, *, to_tag: str | None = None) -> Response:
    """A response to `request` (§8.2.6.2): Via, From, To, Call-ID, CSeq repeated; `to_tag` put on To when there is none
    yet; Timestamp for 100 (§8.2.6.1); Record-Route for 101–299 to a request that may make a dialog (§12.1.1)."""
    repeated = _REPEATED
    if status == 100:
        repeated = _REPEATED_TRYING
    elif status < 300 and request.method in _DIALOG_METHODS:
        repeated = _REPEATED_DIALOG
    items = [item for item in request.headers._items if item[0] in repeated]
    if to_tag is not None:
        items = [(name, with_tag(value, to_tag)) if name == "To" else (name, value) for name, value in items]
    return Response(status, reason, Headers.of(items))


def with_tag(value: str, tag: str) -> str:
    """A From or To value with `;tag=` put on when it has none. The rest stays as it was written."""
    if "tag" in value.lower():
        try:
            if parse_name_addr(value).tag is not None:
                return value
        except BadHeader:
            return value
    return f"{value};tag={tag}"


def stateless_tag(headers: Headers) -> str:
    """A To tag made from what names the request: a server without state, or one that gets the request again, gives the
    same answer (§8.2.7)."""
    named = [item for item in headers.items() if item[0] in _REPEATED]
    return hashlib.sha256(repr(named).encode(errors="replace")).hexdigest()[:16]


def _contents(message: Request | Response) -> tuple[object, ...]:
    """What makes two messages equal: all but Content-Length, which `encode` writes itself."""
    items = [item for item in message.headers.items() if item[0] != "Content-Length"]
    if isinstance(message, Request):
        return message.method, message.uri, items, message.body
    return message.status, message.reason, items, message.body


def _first_via(text: str) -> Via:
    return parse_via(next(iter(split_elements(text)), "") if "," in text else text)


def _from(text: str) -> NameAddr:
    return parse_name_addr(text, "From")


def _to(text: str) -> NameAddr:
    return parse_name_addr(text, "To")
