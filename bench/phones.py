"""Callers and auto-answering agents' phones, thousands in one process."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from time import monotonic

from bench import wire
from bench.dialog import Dialog
from bench.endpoint import Endpoint
from bench.wire import Message


@dataclass(slots=True)
class Outcome:
    """One caller's call. Times are seconds of time.monotonic (a uvloop's own are whole milliseconds); `status` 408
    may mean that our own 32 s ran out."""

    caller: str
    status: int = 0
    invited_at: float = 0.0
    setup: float = 0.0
    """INVITE to its final response."""
    answered_at: float = 0.0
    keyed_at: float = 0.0
    """When the last key's INFO was sent."""
    duration: float = 0.0
    ended_by: str = ""
    """here | there | "" when it never was a call."""
    failure: str = ""
    """Why this call counts as failed; "" for a good one."""
    retry_after: str = ""
    """Of a refusal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What each caller does."""

    to: str
    target: tuple[str, int]
    domain: str = "127.0.0.1"
    keys: Sequence[tuple[float, str]] = ()
    """(seconds after the answer or the key before, digit)"""
    talk: float | None = None
    """Seconds after the last key until our BYE; None: wait for theirs."""
    patience: float = 60.0
    """How long to wait for their BYE; beyond it the call has failed and we hang up."""


@cache
def _nowhere() -> socket.socket:
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sink.bind(("127.0.0.1", 0))
    return sink


def unheard(_who: str) -> tuple[str, int]:
    """An RTP port as a phone has one, which nobody reads. At a closed port each packet would be answered by an ICMP
    error, at the expense of the server."""
    host, port = _nowhere().getsockname()
    return host, port


def _no_media(_who: str, _dialog: Dialog) -> None:
    return


class Callers:
    """A trunk's side: every call from one socket. `media(caller)` names the RTP address offered; `talk(caller,
    dialog)` is called when it is answered, `hush(caller, dialog)` when it is over."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._dialogs: dict[str, Dialog] = {}
        self.media: Callable[[str], tuple[str, int]] = unheard
        self.talk: Callable[[str, Dialog], None] = _no_media
        self.hush: Callable[[str, Dialog], None] = _no_media
        endpoint.on_request = self._on_request

    @property
    def active(self) -> int:
        return len(self._dialogs)

    def _on_request(self, request: Message, source: tuple[str, int]) -> None:
        dialog = self._dialogs.get(request.call_id)
        if dialog is not None:
            dialog.receive(request, source)
            return
        data = wire.response(request, 481, "Call/Transaction Does Not Exist", tag=wire.token(), headers=[])
        self._endpoint.answer(request, source, data, status=481)

    async def hang_up_all(self, rate: float = 100.0) -> None:
        """BYE in every dialog, so many a second."""
        byes = []
        for dialog in list(self._dialogs.values()):
            byes.append(self._endpoint.loop.create_task(dialog.bye()))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*byes)

    async def call(self, caller: str, plan: Plan) -> Outcome:
        """One call from INVITE to its end."""
        outcome = Outcome(caller)
        branch, call_id = "z9hG4bK" + wire.token(), wire.token()
        invite = self._invite(caller, plan, branch, call_id)
        outcome.invited_at = monotonic()
        final = await self._endpoint.request(invite, plan.target, branch, invite=True).final
        outcome.setup, outcome.status = monotonic() - outcome.invited_at, final.status
        if not 200 <= final.status < 300:
            outcome.failure, outcome.retry_after = f"INVITE {final.status}", final.get("retry-after")
            return outcome
        dialog = self._dialogs[call_id] = Dialog.caller(self._endpoint, invite, final)
        dialog.ack(branch, 1)
        outcome.answered_at = monotonic()
        self.talk(caller, dialog)
        try:
            await self._converse(dialog, plan, outcome)
        finally:
            outcome.duration = monotonic() - outcome.answered_at
            outcome.ended_by = dialog.ended.result() if dialog.ended.done() else ""
            self.hush(caller, dialog)
            self._endpoint.loop.call_later(1.0, self._dialogs.pop, call_id, None)
        return outcome

    def _invite(self, caller: str, plan: Plan, branch: str, call_id: str) -> bytes:
        headers = [
            ("Via", self._endpoint.via(branch)),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{caller}@{self._endpoint.host}>;tag={wire.token()}"),
            ("To", f"<sip:{plan.to}@{plan.domain}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", f"<sip:{caller}@{self._endpoint.sent_by}>"),
            ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO"),
        ]
        return wire.request("INVITE", f"sip:{plan.to}@{plan.domain}", headers, wire.sdp(*self.media(caller)))

    async def _converse(self, dialog: Dialog, plan: Plan, outcome: Outcome) -> None:
        for delay, digit in plan.keys:
            if await _wait(dialog.ended, delay):
                outcome.failure = "ended before the key"
                return
            outcome.keyed_at = monotonic()
            status = await dialog.key(digit)
            if status != 200:
                outcome.failure = f"INFO {status}"
        if await _wait(dialog.ended, plan.patience if plan.talk is None else plan.talk):
            return
        if plan.talk is None:
            outcome.failure = outcome.failure or "no BYE in time"
        status = await dialog.bye()
        if status not in {0, 200}:
            outcome.failure = outcome.failure or f"BYE {status}"


async def _wait(ended: asyncio.Future[str], seconds: float) -> bool:
    """True when the dialog ended within that time."""
    done, _ = await asyncio.wait([ended], timeout=seconds)
    return bool(done)


@dataclass(slots=True)
class Taken:
    """One call that an agent's phone answered."""

    agent: str
    caller: str
    invited_at: float
    acked_at: float = 0.0
    ended_by: str = ""


@dataclass(slots=True)
class Agents:
    """Registered phones on one socket that ring for `ring` seconds, answer, and hang up `talk` seconds later
    (None: never, the caller does)."""

    endpoint: Endpoint
    registrar: tuple[str, int]
    domain: str
    ring: float = 0.0
    talk: float | None = None
    media: Callable[[str], tuple[str, int]] = unheard
    on_talk: Callable[[str, Dialog], None] = _no_media
    on_end: Callable[[str, Dialog], None] = _no_media
    taken: list[Taken] = field(default_factory=list)
    _dialogs: dict[str, Dialog] = field(default_factory=dict)
    _ringing: dict[str, Callable[[], None]] = field(default_factory=dict)
    _open: dict[str, Taken] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.endpoint.on_request = self._on_request
        self.endpoint.on_ack = self._on_ack

    @property
    def active(self) -> int:
        return len(self._dialogs) + len(self._ringing)

    async def register(self, user: str, password: str, expires: int = 3600) -> int:
        """REGISTER with digest, first challenge offered that we know; returns the final status."""
        uri, call_id, tag = f"sip:{self.domain}", wire.token(), wire.token()
        authorization = ""
        for sequence in (1, 2, 3):
            branch = "z9hG4bK" + wire.token()
            headers = [
                ("Via", self.endpoint.via(branch)),
                ("Max-Forwards", "70"),
                ("From", f"<sip:{user}@{self.domain}>;tag={tag}"),
                ("To", f"<sip:{user}@{self.domain}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{sequence} REGISTER"),
                ("Contact", f"<sip:{user}@{self.endpoint.sent_by}>"),
                ("Expires", str(expires)),
            ]
            if authorization:
                headers.append(("Authorization", authorization))
            data = wire.request("REGISTER", uri, headers)
            final = await self.endpoint.request(data, self.registrar, branch).final
            if final.status != 401 or (authorization and "stale=true" not in final.get("www-authenticate").lower()):
                break
            authorization = wire.authorize(final.get("www-authenticate"), "REGISTER", uri, user, password)
        return final.status

    async def hang_up_all(self) -> None:
        """BYE in every dialog, and whoever rings declines."""
        for decline in [*self._ringing.values()]:
            decline()
        self._ringing.clear()
        await asyncio.gather(*(dialog.bye() for dialog in [*self._dialogs.values()]))

    def _on_request(self, request: Message, source: tuple[str, int]) -> None:
        dialog = self._dialogs.get(request.call_id)
        if dialog is not None:
            dialog.receive(request, source)
        elif request.method == "INVITE":
            self._ring(request, source)
        elif request.method == "CANCEL":
            self._cancel(request, source)
        else:
            status, reason = (200, "OK") if request.method == "OPTIONS" else (481, "No Such Dialog")
            data = wire.response(request, status, reason, tag=wire.token(), headers=[])
            self.endpoint.answer(request, source, data, status=status)

    def _ring(self, invite: Message, source: tuple[str, int]) -> None:
        tag, agent = wire.token(), wire.user(invite.uri)
        contact = ("Contact", f"<sip:{agent}@{self.endpoint.sent_by}>")
        taken = Taken(agent, wire.user(invite.get("from")), monotonic())
        self.taken.append(taken)

        def answer() -> None:
            del self._ringing[invite.call_id]
            self._dialogs[invite.call_id] = Dialog.callee(self.endpoint, invite, tag)
            self._open[invite.call_id] = taken
            body = wire.sdp(*self.media(agent))
            data = wire.response(invite, 200, "OK", tag=tag, headers=[contact], body=body)
            self.endpoint.answer(invite, source, data, status=200)

        def decline() -> None:
            timer.cancel()
            data = wire.response(invite, 487, "Request Terminated", tag=tag, headers=[])
            self.endpoint.answer(invite, source, data, status=487)

        ringing = wire.response(invite, 180, "Ringing", tag=tag, headers=[contact])
        self.endpoint.answer(invite, source, ringing, status=180)
        self._ringing[invite.call_id] = decline
        timer = self.endpoint.loop.call_later(self.ring, answer)

    def _cancel(self, cancel: Message, source: tuple[str, int]) -> None:
        decline = self._ringing.pop(cancel.call_id, None)
        status, reason = (200, "OK") if decline else (481, "No Such Transaction")
        data = wire.response(cancel, status, reason, tag=wire.token(), headers=[])
        self.endpoint.answer(cancel, source, data, status=status)
        if decline is not None:
            decline()

    def _on_ack(self, ack: Message) -> None:
        taken = self._open.pop(ack.call_id, None)
        if taken is None:
            return
        taken.acked_at = monotonic()
        task = self.endpoint.loop.create_task(self._converse(taken, self._dialogs[ack.call_id]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, taken: Taken, dialog: Dialog) -> None:
        self.on_talk(taken.agent, dialog)
        if self.talk is None:
            await dialog.ended
        elif not await _wait(dialog.ended, self.talk):
            await dialog.bye()
        taken.ended_by = dialog.ended.result()
        self.on_end(taken.agent, dialog)
        self.endpoint.loop.call_later(1.0, self._dialogs.pop, dialog.call_id, None)
