"""SIP messages as a ladder: time downwards, who said what to whom as arrows between caller, Callwright and phones.

  time        caller                    callwright                    phone
+0.000           │── INVITE 1001 ─────────→│                            │      udp 127.0.0.1:5071  SDP PCMA PCMU
+0.001           │←──────────── 100 Trying ─│                            │
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

LANE: Final = 26
"""Characters between two columns."""
TIME: Final = 11
"""Characters of the time, before the first column."""
NOTE_HEADERS: Final = ("reason", "warning", "retry-after", "refer-to", "replaces", "expires", "require")
"""Said beside the arrow when a message has them."""


@dataclass(slots=True)
class Message:
    """One message as the control socket gives it, with its place."""

    number: int
    at: float
    sent: bool
    transport: str
    peer: str
    text: str
    leg: int
    """1: the caller's, 2, 3 …: phones'; 0: belongs to no call."""
    again: bool = False
    """The same message went before: a retransmission."""

    @property
    def start_line(self) -> str:
        return self.text.partition("\n")[0]

    def header(self, *names: str) -> str:
        """First value of a header by any of its names, in small letters; "" without it."""
        for line in self.text.split("\n\n", 1)[0].split("\n")[1:]:
            name, colon, value = line.partition(":")
            if colon and name.strip().lower() in names:
                return value.strip()
        return ""


@dataclass(slots=True)
class Ladder:
    """Draws messages as they come; keeps what it needs to tell a time and a retransmission."""

    width: int = 0
    """Of the terminal; 0: lines may be as long as they like."""
    full: bool = False
    """Each message whole, below its arrow."""
    _began: float = -1.0
    _seen: set[int] = field(default_factory=set)
    """Hashes: a view may stand open for days."""

    def head(self, first: Message) -> list[str]:
        """Column names; `first` tells when it began."""
        self._began = first.at
        when = datetime.fromtimestamp(first.at, UTC)
        names = f"{'caller':<{LANE}}{'callwright':<{LANE}}phone" if first.leg else f"{'peer':<{LANE}}callwright"
        return [f"began {when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03} UTC", f"{'':<{TIME - 2}}{names}"]

    def draw(self, message: Message) -> list[str]:
        """One line for a message, more with `full`."""
        mark = hash((message.sent, message.text))
        message.again = mark in self._seen
        self._seen.add(mark)
        line = f"{_since(message.at - self._began):>{TIME - 2}}  {_arrow(message)}  {_notes(message)}".rstrip()
        if self.width and len(line) > self.width:
            line = line[: self.width - 1] + "…"
        if not self.full:
            return [line]
        return [
            line,
            *(f"{'':<{TIME}}{printable(text)}".rstrip() for text in message.text.rstrip("\n").split("\n")),
            "",
        ]


def messages(reply: Mapping[str, Any]) -> list[Message]:
    """Those of a reply to `sip_trace`, in the order in which they passed."""
    found = [
        Message(leg=conversation["leg"], **fields)
        for conversation in reply["conversations"]
        for fields in conversation["messages"]
    ]
    return sorted(found, key=lambda message: message.number)


def listing(reply: Mapping[str, Any]) -> Iterable[str]:
    """A line for each conversation: what began it, and what came last."""
    yield f"{'began (UTC)':<13}{'messages':>8}  {'call':<19} first / last / Call-ID"
    for conversation in reply["conversations"]:
        (first,) = messages({"conversations": [conversation]})
        when = datetime.fromtimestamp(first.at, UTC)
        who = _address(first.header("from", "f"))
        what = " / ".join((f"{_label(first)} from {who}", conversation["last"], conversation["sip_call_id"]))
        began = f"{when:%H:%M:%S}.{when.microsecond // 1000:03}"
        yield f"{began:<13}{conversation['count']:>8}  {conversation['call']:<19} {printable(what)}"


def printable(text: str) -> str:
    """A peer's text must not drive the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text.replace("\t", " "))


def _since(seconds: float) -> str:
    return f"+{seconds:.3f}"


def _arrow(message: Message) -> str:
    """Both lanes, an arrow in one of them; what we send to a caller and what a phone sends points left."""
    with_phone = message.leg > 1
    leftwards = message.sent != with_phone
    label = _label(message)[: LANE - 6]
    rest = "─" * (LANE - 5 - len(label))
    lane = f"←{rest} {label} ─" if leftwards else f"─ {label} {rest}→"
    empty = " " * (LANE - 1)
    lanes = ["│", empty, "│", empty, "│"] if message.leg else ["│", empty, "│"]
    lanes[3 if with_phone else 1] = lane
    return "".join(lanes)


def _label(message: Message) -> str:
    """`INVITE 1001`, `200 OK INVITE`: of a response also what it answers."""
    words = message.start_line.split(" ")
    if words[0].startswith("SIP/2.0") and len(words) > 1:
        method = message.header("cseq").rpartition(" ")[2]
        reason = " ".join(words[2:]) if len(words[1]) == 3 else ""
        short = f"{words[1]} {reason}"
        return printable(f"{short} ({method})" if len(short) + len(method) + 3 <= LANE - 6 else f"{words[1]} {method}")
    user = words[1].partition(":")[2].partition("@")[0] if len(words) > 1 and "@" in words[1] else ""
    return printable(f"{words[0]} {user}".strip())


def _notes(message: Message) -> str:
    parts = ["(again)"] if message.again else []
    if message.leg > 2:
        parts.append(f"leg {message.leg}")
    parts.append(f"{message.transport} {message.peer}")
    if message.start_line.startswith(("INVITE", "REGISTER", "REFER")):
        parts.append(f"from {_address(message.header('from', 'f'))}")
    parts += [f"{name}: {value}" for name in NOTE_HEADERS if (value := message.header(name))]
    parts.append(_media(message))
    return printable("  ".join(part for part in parts if part))


def _address(value: str) -> str:
    """The user of From, or its host when it names none."""
    uri = value.partition("<")[2].partition(">")[0] or value.partition(";")[0]
    return uri.partition(":")[2].partition("@")[0]


def _media(message: Message) -> str:
    """`SDP 127.0.0.1:20000 PCMA PCMU sendonly`"""
    body = message.text.partition("\n\n")[2]
    if "m=audio" not in body:
        return ""
    host, port, names, direction = "", "", [], ""
    for line in body.split("\n"):
        kind, _, value = line.partition("=")
        if kind == "c":
            host = value.rpartition(" ")[2]
        elif kind == "m" and value.startswith("audio "):
            port = value.split(" ")[1]
        elif value.startswith("rtpmap:"):
            names.append(value.rpartition(" ")[2].partition("/")[0])
        elif value in ("sendonly", "recvonly", "inactive"):
            direction = value
    return " ".join(part for part in ("SDP", f"{host}:{port}", *names, direction) if part)
