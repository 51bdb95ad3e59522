"""The control socket's answer to `sip_trace`: messages of chosen calls, fit for human eyes.

Request: one of `call` (ours), `call_id` (SIP) and `number` (caller, callee or dialled), or none for a list of what
there is; `after`: only messages with a higher number. Reply:

    {"newest": 812, "more": false, "conversations": [{"sip_call_id": …, "call": …, "leg": 1, "skipped": 0,
      "messages": [{"number": 800, "at": 1763758955.25, "sent": false, "transport": "udp", "peer": "192.0.2.7:5060",
                    "text": "INVITE sip:…"}]}]}
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from app.control_socket import Refused
from engine.sip.redact import redact
from engine.trace import Conversation, SipTrace, Traced
from events.types import Recorded
from kernel.clock import Clock

MESSAGES_A_REPLY: Final = 500
"""More are asked for again, with `after`."""
A_TURN: Final = 20
"""Messages made readable, or conversations searched, between two turns of the loop: calls go first."""
LISTED: Final = 40
"""Conversations that a list names: the last ones."""


class SipMessages:
    """`trace` sees every message; `subscribe` (of the journal) tells it whose they are."""

    def __init__(self, clock: Clock, subscribe: Callable[[Callable[[Recorded], None]], object]) -> None:
        self.trace = SipTrace(clock.monotonic)
        subscribe(self.trace.observe)
        self._clock = clock

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """For ControlServer. Raises Refused when nothing fits and nothing is awaited (`after` is 0)."""
        after = int(request.get("after", 0))
        newest = self.trace.number
        wanted = {name: str(request.get(name) or "") for name in ("call", "call_id", "number")}
        if not any(wanted.values()):
            return {"newest": newest, "more": False, "conversations": await self._list(after)}
        found = await self._find(wanted)
        if not found and not after and not request.get("follow"):
            raise Refused("no message of that is kept; `callwright sip trace` lists what there is")
        return await self._reply(found, after, newest)

    async def _find(self, wanted: Mapping[str, str]) -> list[Conversation]:
        if wanted["call"]:
            return self.trace.of_call(wanted["call"])
        if wanted["call_id"]:
            return self._whole_calls(self.trace.of_call_id(wanted["call_id"]))
        names = number_pattern(wanted["number"])
        found = []
        for index, conversation in enumerate(self.trace.all()):
            if index % A_TURN == 0:
                await asyncio.sleep(0)
            if conversation.first and names.search(conversation.first[0].data):
                found.append(conversation)
        return self._whole_calls(found)

    def _whole_calls(self, found: Iterable[Conversation]) -> list[Conversation]:
        """All legs of the calls that these belong to."""
        whole: dict[int, Conversation] = {}
        for conversation in found:
            whole[id(conversation)] = conversation
            for call in conversation.calls:
                whole |= {id(leg): leg for leg in self.trace.of_call(call)}
        return list(whole.values())

    async def _reply(self, found: list[Conversation], after: int, newest: int) -> dict[str, Any]:
        due = sorted((m.number, m, c) for c in found for m in c if after < m.number <= newest)
        shown: dict[int, dict[str, Any]] = {}
        for index, (_, message, conversation) in enumerate(due[:MESSAGES_A_REPLY]):
            if index % A_TURN == 0:
                await asyncio.sleep(0)
            entry = shown.get(id(conversation))
            if entry is None:
                entry = shown[id(conversation)] = self._head(conversation)
            entry["messages"].append(self._message(message))
        more = len(due) > MESSAGES_A_REPLY
        last = due[MESSAGES_A_REPLY - 1][0] if more else newest
        return {"newest": last, "more": more, "conversations": list(shown.values())}

    async def _list(self, after: int) -> list[dict[str, Any]]:
        """The first message of each: enough to tell what it is."""
        listed = []
        for conversation in [c for c in self.trace.all() if c.newest > after and c.first][-LISTED:]:
            entry = self._head(conversation)
            messages = list(conversation)
            entry["messages"] = [self._message(messages[0])]
            entry["count"] = len(messages) + conversation.skipped
            entry["last"] = _start_line(messages[-1].data)
            listed.append(entry)
            if len(listed) % A_TURN == 0:
                await asyncio.sleep(0)
        return listed

    def _head(self, conversation: Conversation) -> dict[str, Any]:
        call = conversation.calls[-1] if conversation.calls else ""
        legs = self.trace.of_call(call)
        return {
            "sip_call_id": conversation.sip_call_id,
            "call": call,
            "leg": legs.index(conversation) + 1 if conversation in legs else 0,
            "skipped": conversation.skipped,
            "messages": [],
        }

    def _message(self, message: Traced) -> dict[str, Any]:
        host, port = message.flow.remote
        return {
            "number": message.number,
            "at": self._clock.wall() - self._clock.monotonic() + message.at,
            "sent": message.sent,
            "transport": message.flow.transport,
            "peer": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "text": redact(message.data),
        }


def number_pattern(number: str) -> re.Pattern[bytes]:
    """Finds it as user of a URI in the request line, From, To or an identity header of a message."""
    user = re.escape(number.encode())
    return re.compile(
        rb"(?im)^(?:[A-Z]+ |(?:from|f|to|t|p-asserted-identity|p-preferred-identity|remote-party-id)[ \t]*:[^\r\n]*?)"
        rb"(?:sips?|tel):" + user + rb"(?=[@;:>\s])"
    )


def _start_line(data: bytes) -> str:
    return redact(data.partition(b"\r\n")[0][:200])
