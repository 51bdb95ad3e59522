"""Session descriptions as values (RFC 8866): parse and write.

Kept: what offer/answer needs and what must come back unchanged (m-lines, their formats and attributes). Lines of other
types (i=, u=, e=, p=, b=, r=, z=, k=) are checked for their shape and ignored. Lenient where phones are: LF alone ends
a line, s= and t= may be absent, the order of session lines is free.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

MAX_BODY: Final = 16_384
"""Octets; a WebRTC offer with its candidates has about 8 000."""
MAX_LINES: Final = 500
MAX_MEDIA: Final = 32

Attribute = tuple[str, str | None]
"""Name and value; None for a flag such as `sendonly`."""


class SdpError(ValueError):
    """A body that is no session description. `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"SDP line {line}: {problem}")
        self.line = line
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Connection:
    """c=IN <family> <host>; a multicast TTL or count stays a part of host."""

    family: str
    host: str

    def __str__(self) -> str:
        return f"IN {self.family} {self.host}"


@dataclass(frozen=True, slots=True)
class Origin:
    """o=: who made the description, and which version of it this is."""

    username: str
    session_id: str
    version: str
    family: str
    host: str

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {self.family} {self.host}"


@dataclass(frozen=True, slots=True)
class Rtpmap:
    """a=rtpmap of one payload type. `encoding` in upper case: it is case-insensitive (RFC 8866 §6.6)."""

    payload_type: int
    encoding: str
    clock: int
    channels: int


STATIC: Final = {
    "0": Rtpmap(0, "PCMU", 8000, 1),
    "8": Rtpmap(8, "PCMA", 8000, 1),
}
"""Payload types that need no rtpmap (RFC 3551 table 4), of those that we speak."""


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line with what belongs to it."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    port_count: int = 1

    def attribute(self, name: str) -> str | None:
        """Value of the first attribute of that name; "" for a flag, None when absent."""
        return _attribute(self.attributes, name)

    def rtpmaps(self) -> list[Rtpmap]:
        """One for each format whose encoding is known, in the order of the m-line: its sender's preference."""
        found: dict[str, Rtpmap] = {}
        for name, value in self.attributes:
            if name == "rtpmap" and value and (entry := _rtpmap(value)) is not None:
                found.setdefault(value.split(None, 1)[0], entry)
        maps = (found.get(text) or STATIC.get(text) for text in self.formats)
        return [entry for entry in maps if entry is not None]


@dataclass(frozen=True, slots=True)
class Description:
    origin: Origin
    connection: Connection | None = None
    media: tuple[Media, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    time: str = "0 0"

    def attribute(self, name: str) -> str | None:
        """As Media.attribute, at session level."""
        return _attribute(self.attributes, name)

    def connection_of(self, media: Media) -> Connection | None:
        """The media line's own address, else that of the session (§5.7)."""
        return media.connection or self.connection

    def encode(self) -> bytes:
        """Lines in the order of §9, CRLF each."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines.append(f"t={self.time}")
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            count = f"/{media.port_count}" if media.port_count != 1 else ""
            lines.append(f"m={media.kind} {media.port}{count} {media.protocol} {' '.join(media.formats)}")
            if media.connection is not None:
                lines.append(f"c={media.connection}")
            lines += _attribute_lines(media.attributes)
        lines.append("")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def parse(body: bytes) -> Description:
    """Read a description. Raises SdpError, and nothing else, on whatever bytes."""
    if len(body) > MAX_BODY:
        raise SdpError(1, f"longer than {MAX_BODY} octets")
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    while lines and not lines[-1].strip("\r"):
        lines.pop()
    if len(lines) > MAX_LINES:
        raise SdpError(MAX_LINES + 1, f"more than {MAX_LINES} lines")
    builder = _Builder()
    for number, raw in enumerate(lines, 1):
        line = raw[:-1] if raw.endswith("\r") else raw
        if line[1:2] != "=" or not ("a" <= line[0] <= "z"):
            raise SdpError(number, "not of the form <letter>=<value>")
        if "\r" in line or "\0" in line:
            raise SdpError(number, "holds a control character")
        builder.line(number, line[0], line[2:])
    return builder.finish(len(lines))


@dataclass(slots=True)
class _MediaDraft:
    kind: str
    port: int
    port_count: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: list[Attribute] = field(default_factory=list)


class _Builder:
    """Takes the lines one by one."""

    __slots__ = ("_attributes", "_connection", "_media", "_name", "_origin", "_time")

    def __init__(self) -> None:
        self._origin: Origin | None = None
        self._connection: Connection | None = None
        self._name, self._time = "-", "0 0"
        self._attributes: list[Attribute] = []
        self._media: list[_MediaDraft] = []

    def line(self, number: int, letter: str, value: str) -> None:
        if number == 1:
            if letter != "v" or value.strip() != "0":
                raise SdpError(1, "does not begin with v=0")
        elif letter == "a":
            (self._media[-1].attributes if self._media else self._attributes).append(_split_attribute(value))
        elif letter == "m":
            self._media.append(_media_line(number, value))
            if len(self._media) > MAX_MEDIA:
                raise SdpError(number, f"more than {MAX_MEDIA} media lines")
        elif letter == "c":
            self._take_connection(_connection(number, value))
        elif not self._media:
            self._session_line(number, letter, value)

    def _take_connection(self, connection: Connection) -> None:
        if not self._media:
            self._connection = connection
        elif self._media[-1].connection is None:  # several are layers of one multicast stream: the first will do
            self._media[-1].connection = connection

    def _session_line(self, number: int, letter: str, value: str) -> None:
        if letter == "o":
            self._origin = _origin(number, value)
        elif letter == "s":
            self._name = value
        elif letter == "t":
            self._time = value
        elif letter == "v":
            raise SdpError(number, "a second v= line")

    def finish(self, last: int) -> Description:
        if self._origin is None:
            raise SdpError(max(last, 1), "no o= line")
        media = tuple(
            Media(m.kind, m.port, m.protocol, m.formats, m.connection, tuple(m.attributes), m.port_count)
            for m in self._media
        )
        return Description(self._origin, self._connection, media, tuple(self._attributes), self._name, self._time)


def _split_attribute(value: str) -> Attribute:
    name, colon, rest = value.partition(":")
    return (name, rest if colon else None)


def _origin(number: int, value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6 or parts[3] != "IN" or parts[4] not in ("IP4", "IP6"):
        raise SdpError(number, "o= is not <user> <id> <version> IN IP4|IP6 <address>")
    return Origin(parts[0], parts[1], parts[2], parts[4], parts[5])


def _connection(number: int, value: str) -> Connection:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise SdpError(number, "c= is not IN IP4|IP6 <address>")
    return Connection(parts[1], parts[2])


def _media_line(number: int, value: str) -> _MediaDraft:
    parts = value.split()
    if len(parts) < 4:
        raise SdpError(number, "m= is not <kind> <port> <protocol> <format>...")
    port, slash, count = parts[1].partition("/")
    port_number = _number(port, 65_535)
    port_count = _number(count, 65_535) if slash else 1
    if port_number is None or not port_count:
        raise SdpError(number, f"port {parts[1]!r} is not a number from 0 to 65535")
    return _MediaDraft(parts[0], port_number, port_count, parts[2], tuple(parts[3:]))


@lru_cache(maxsize=256)
def _rtpmap(value: str) -> Rtpmap | None:
    """None for what is not `<0-127> <encoding>/<clock>[/<channels>]`: such a format is then just unknown."""
    parts = value.split()
    if len(parts) != 2:
        return None
    encoding, _, rest = parts[1].partition("/")
    clock, slash, channels = rest.partition("/")
    payload_type = _number(parts[0], 127)
    rate = _number(clock, 10_000_000)
    count = _number(channels, 255) if slash else 1
    if payload_type is None or rate is None or count is None:
        return None
    return Rtpmap(payload_type, encoding.upper(), rate, count)


def _number(text: str, largest: int) -> int | None:
    """ASCII digits only (`int` takes other scripts, signs and underscores)."""
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        return None
    number = int(text)
    return number if number <= largest else None


def _attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    for key, value in attributes:
        if key == name:
            return value or ""
    return None


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]
