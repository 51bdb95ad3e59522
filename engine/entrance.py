"""The way of a message in, from the transports to the transaction layer: what is in its way is dropped, or answered
without state. For the rules see engine/screening.py."""

import asyncio
from collections.abc import Callable

import structlog

from engine.intake import Intake
from engine.line import METHODS, SERVER, Line
from engine.screening import Screening
from engine.sip.dialog import dialog_id
from engine.sip.flow import Flow
from engine.sip.grammar import ParseError
from engine.sip.message import Request
from engine.sip.parse import bad_request, parse
from engine.throttle import Throttle

log = structlog.get_logger()

MALFORMED_EVERY = 1.0
"""Seconds between two log lines on messages that could not be read."""


class Entrance:
    """note: sees every message but those that are refused at a glance. answer: sends when the events before it are
    committed; at_once: now, for an answer with no event behind it."""

    def __init__(
        self,
        line: Line,
        screening: Screening,
        *,
        note: Callable[..., None],
        answer: Callable[[Flow, bytes], None],
        at_once: Callable[[Flow, bytes], object],
    ) -> None:
        self._line = line
        self._layer = line.layer
        self._now = line.clock.monotonic
        self._screening = screening
        self._note = note
        self._answer = answer
        self._at_once = at_once
        self._malformed = Throttle(MALFORMED_EVERY)
        self._intake = Intake(self._take, asyncio.get_running_loop().call_soon, self._now, screening.gate.dropped)

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        self._intake.lost(flow)
        self._screening.gate.flow_lost(flow)

    def receive(self, data: bytes, flow: Flow) -> None:
        """One whole message, or what pretends to be one."""
        if len(data) < 5 and not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 §3.5.1 and what phones send in its place)
        now = self._now()
        if not self._screening.gate.opens(data, flow, now):
            return
        if not (self._screening.overload.shedding and self._shed(data, flow, now)):
            self._intake.take(data, flow)

    def _take(self, data: bytes, flow: Flow) -> None:
        """Its turn has come. New calls that waited for it since before there were too many are refused at a glance."""
        now = self._now()
        if self._screening.overload.shedding and data.startswith(b"INVITE ") and self._shed(data, flow, now):
            return
        self._note(data, flow, sent=False)
        try:
            message = parse(data)
        except ParseError as error:
            self._screening.gate.junk(flow, now)
            self._refuse(error, flow)
            return
        if isinstance(message, Request) and not self._let_in(message, flow, now):
            return
        self._layer.receive(message, flow, now)
        self._line.pump()

    def _shed(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a message is done with unparsed, as a call too many. Its answer waits for no commit: no event is
        behind it."""
        shed = self._screening.shed(data, flow, now, self._layer.holds_key)
        if shed is None:
            return False
        if shed.flow is not None:
            self._line.counts.received["INVITE"] += 1
            self._line.counts.sent["INVITE", 503] += 1
            self._at_once(shed.flow, shed.data)
        return True

    def _let_in(self, request: Request, flow: Flow, now: float) -> bool:
        """Whether a request is for the transaction layer; else it is dropped, or answered here without state."""
        if request.method == "ACK" or self._layer.holds(request):
            return True
        judged = self._screening.judge(request, flow, now, stray=self._is_stray(request))
        if isinstance(judged, bool):
            return judged
        back, response = judged
        response.headers.add("Server", SERVER)
        method = request.method if request.method in METHODS else "other"
        self._line.counts.received[method] += 1
        self._line.counts.sent[method, response.status] += 1
        self._answer(back, response.encode())
        return False

    def _is_stray(self, request: Request) -> bool:
        """It belongs to a dialog or an INVITE that there is not (any more): 481, as RFC 3261 §9.2 and §12.2.2 say."""
        if request.method == "CANCEL":
            return not self._layer.holds(request, "INVITE")
        return request.to_tag is not None and dialog_id(request) not in self._line.dialogs

    @property
    def delay(self) -> float:
        """Seconds that the first of the new calls has waited for its turn."""
        return self._intake.delay(self._now())

    @property
    def waiting(self) -> int:
        """New calls that wait for their turn."""
        return self._intake.waiting

    def _refuse(self, error: ParseError, flow: Flow) -> None:
        answer = bad_request(error)
        self._line.counts.malformed += 1
        self._line.counts.dropped += answer is None
        count = self._malformed.take(self._now())
        if count:
            told = {"source": str(flow), "reason": error.reason, "offset": error.offset, "count": count}
            log.info("malformed", **told, answered=answer is not None)
        if answer is not None:
            self._answer(flow, answer)
