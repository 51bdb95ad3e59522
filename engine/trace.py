"""The last SIP messages of every call, kept so that one may be looked at while it happens or just after.

A message costs one dictionary look-up, one tuple and a reference to its bytes; all else (redaction, text, search) is
done when somebody asks. Messages are kept by SIP Call-ID. When the room is used up the oldest conversation goes first,
but those of calls in progress only when nothing else is left: a flood does not wash away what people are talking in.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from engine.sip.flow import Flow
from events.types import CallArrived, CallEnded, LegDialled, Recorded

ROOM_BYTES: Final = 8 * 1024 * 1024
"""For messages and what it takes to keep them: some 400 calls that talked to an agent."""
MESSAGE_COST: Final = 200
"""Bytes of a kept message beside its own."""
CALL_COST: Final = 1200
"""Bytes of a conversation without its messages."""
FIRST_MESSAGES: Final = 40
LAST_MESSAGES: Final = 120
"""Of each Call-ID: how it began, and what came last; those between are counted."""
CALL_ID_LIMIT: Final = 256
"""A longer Call-ID is cut, as in CallArrived."""

_CALL_ID: Final = re.compile(rb"(?im)^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)")


class Traced(NamedTuple):
    number: int
    """1, 2, 3 … over all messages of this process."""
    at: float
    """By the monotonic clock."""
    sent: bool
    flow: Flow
    data: bytes


class Conversation:
    """All messages with one Call-ID."""

    __slots__ = ("_last", "bytes", "calls", "first", "key", "skipped")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.calls: list[str] = []
        """The call that it is a leg of; none for registrations and refused calls, several if a peer repeats itself."""
        self.first: list[Traced] = []
        self._last: deque[Traced] = deque()
        self.skipped = 0
        self.bytes = CALL_COST

    def add(self, message: Traced) -> int:
        """Returns by how much it grew, in bytes."""
        grown = len(message.data) + MESSAGE_COST
        if len(self.first) < FIRST_MESSAGES:
            self.first.append(message)
        else:
            if len(self._last) == LAST_MESSAGES:
                grown -= len(self._last.popleft().data) + MESSAGE_COST
                self.skipped += 1
            self._last.append(message)
        self.bytes += grown
        return grown

    def __iter__(self) -> Iterator[Traced]:
        yield from self.first
        yield from self._last

    @property
    def sip_call_id(self) -> str:
        return self.key.decode("utf-8", "replace")

    @property
    def newest(self) -> int:
        """Number of its last message; 0 when it has none yet."""
        messages = self._last or self.first
        return messages[-1].number if messages else 0


class SipTrace:
    """Told by the user agent what passes, all but calls refused at a glance for overload: they would wash away the
    rest. One for a control process."""

    def __init__(self, monotonic: Callable[[], float], room: int = ROOM_BYTES) -> None:
        self._now = monotonic
        self._room = room
        self._used = 0
        self.number = 0
        """Of the newest message."""
        self._talking: dict[bytes, Conversation] = {}
        """Of calls in progress."""
        self._others: dict[bytes, Conversation] = {}
        self._calls: dict[str, list[Conversation]] = {}

    # --- what passes --------------------------------------------------------------------------------------------

    def note(self, data: bytes, flow: Flow, *, sent: bool) -> None:
        key = _call_id(data)
        self.number += 1
        conversation = self._talking.get(key) or self._open(key)
        self._used += conversation.add(Traced(self.number, self._now(), sent, flow, data))
        while self._used > self._room and len(self._talking) + len(self._others) > 1:
            self._forget()

    def observe(self, record: Recorded) -> None:
        """Learn from the log which Call-IDs make a call, and when it is over. For Journal.subscribe."""
        event = record.event
        if isinstance(event, (CallArrived, LegDialled)):
            if event.sip_call_id:
                self._belongs(event.sip_call_id, event.call)
        elif isinstance(event, CallEnded):
            for conversation in self._calls.get(event.call, ()):
                if self._talking.pop(conversation.key, None) is not None:
                    self._others[conversation.key] = conversation

    # --- for those who ask --------------------------------------------------------------------------------------

    def of_call(self, call: str) -> list[Conversation]:
        """The caller's conversation first, then those with phones in the order in which they were dialled."""
        return list(self._calls.get(call, ()))

    def of_call_id(self, sip_call_id: str) -> list[Conversation]:
        key = _key(sip_call_id)
        found = self._talking.get(key) or self._others.get(key)
        return [found] if found is not None else []

    def all(self) -> list[Conversation]:
        """Those that changed last come last."""
        return sorted([*self._others.values(), *self._talking.values()], key=lambda c: c.newest)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _open(self, key: bytes) -> Conversation:
        conversation = self._others.get(key)
        if conversation is None:
            conversation = self._others[key] = Conversation(key)
            self._used += CALL_COST
        return conversation

    def _belongs(self, sip_call_id: str, call: str) -> None:
        """An INVITE of ours is in the log before it leaves, so it may be the first to name this Call-ID."""
        key = _key(sip_call_id)
        conversation = self._talking.get(key)
        if conversation is None:
            conversation = self._talking[key] = self._open(key)
            del self._others[key]
        if call not in conversation.calls:
            conversation.calls.append(call)
            self._calls.setdefault(call, []).append(conversation)

    def _forget(self) -> None:
        where = self._others or self._talking
        gone = where.pop(next(iter(where)))
        self._used -= gone.bytes
        for call in gone.calls:
            legs = self._calls[call]
            legs.remove(gone)
            if not legs:
                del self._calls[call]


def _key(sip_call_id: str) -> bytes:
    return sip_call_id.encode("utf-8", "replace")[:CALL_ID_LIMIT]


def _call_id(data: bytes) -> bytes:
    """b"" for a message without one. The long name as we and most write it is found without a pattern."""
    start = data.find(b"\r\nCall-ID: ")
    if start >= 0:
        return data[start + 11 : data.find(b"\r", start + 11)].strip()[:CALL_ID_LIMIT]
    found = _CALL_ID.search(data)
    return found[1].strip()[:CALL_ID_LIMIT] if found else b""
