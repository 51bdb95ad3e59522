"""The user agent: brings every SIP message to the transaction, dialog, registration or call that it belongs to
(RFC 3261 §8.2, §12.2.2). It has no socket and sees no packet: `receive` takes messages from the transports, effects
leave through the outbox.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from engine.admission import Admission
from engine.arrivals import Arrivals
from engine.call import Dial, Dialled
from engine.entrance import Entrance
from engine.keeping import Keeping
from engine.large import LargeRequests
from engine.leg import SipLeg
from engine.line import METHODS, SERVER, FlowTo, Line, LineSettings
from engine.media.plane import MediaEvent, Plane, PlayId, PortClosed
from engine.outbound_leg import OutboundLeg
from engine.outbox import Outbox
from engine.placing import Placing
from engine.ports import Dialplan, Planes
from engine.refusals import not_allowed, not_understood, options
from engine.registration import Registration
from engine.relocation import Relocation
from engine.screening import Screening
from engine.session import App, LiveCall
from engine.sip.dialog import dialog_id
from engine.sip.flow import Flow, FlowFault
from engine.sip.message import Request, Response, reply
from engine.sip.transactions import (
    AckArrived,
    AckTimedOut,
    CancelArrived,
    FellBack,
    Output,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionLayer,
)
from engine.sip_counts import SipCounts
from engine.throttle import Throttle
from engine.trunks.credentials import Credentials
from engine.trunks.pool import TrunkPool
from events.types import EndedBy, Event
from kernel.clock import Clock
from kernel.ids import CallId, Ids

log = structlog.get_logger()

RECORDING_FAILED_EVERY = 30.0
"""Seconds between two log lines on recordings that the disk did not take; the log of events has each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UaSettings:
    line: LineSettings
    music: str
    """Clip for hold."""
    ringback: str = ""
    """Clip, one period of the tone, for one who waits while a phone rings; "": silence."""
    max_calls: int = 5000


async def _unrepaired(_: str) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What wiring gives the user agent."""

    clock: Clock
    ids: Ids
    chance: Callable[[], float]
    """0 ≤ chance < 1."""
    emit: Callable[[Event], None]
    outbox: Outbox
    send: Callable[[Flow, bytes], bool]
    """To the transports; called only after the events before it are committed. False: the flow leads nowhere."""
    note: Callable[..., None] = lambda data, flow, *, sent: None
    """SipTrace.note: sees every message but those that are refused at a glance."""
    flow_to: FlowTo
    alive: Callable[[Flow], bool] = lambda _: True
    """Whether a flow can still carry something."""
    fault_of: Callable[[Flow], FlowFault] = lambda _: FlowFault()
    large: LargeRequests = field(default_factory=LargeRequests)
    planes: Planes
    registration: Registration
    admission: Admission
    screening: Screening
    dialplan: Dialplan
    trunks: TrunkPool
    """Started by whoever made it."""
    repair: Callable[[str], Awaitable[float]] = _unrepaired
    """Make a recording playable that a dead media process left: path as in the log -> seconds that it has."""


class UserAgent:
    """One for a control process; lives on the event loop's thread."""

    def __init__(self, settings: UaSettings, parts: Parts) -> None:
        self._settings = settings
        self.clock = parts.clock
        self.ids = parts.ids
        self.emit = parts.emit
        self._outbox = parts.outbox
        self._send = parts.send
        self._note = parts.note
        self._planes = parts.planes
        self._registration = parts.registration
        self._admission = parts.admission
        self._screening = parts.screening
        self._dialplan = parts.dialplan
        self._trunks = parts.trunks
        self.repair = parts.repair
        self._layer = TransactionLayer(branch=parts.ids.token)
        self._counts = SipCounts(self._layer, parts.screening.gate.dropped)
        self.line = Line(
            settings=settings.line,
            clock=parts.clock,
            ids=parts.ids,
            layer=self._layer,
            emit=parts.emit,
            pump=self._pump,
            counts=self._counts,
            flow_to=parts.flow_to,
            alive=parts.alive,
            fault_of=parts.fault_of,
            large=parts.large,
            chance=parts.chance,
        )
        self._placing = Placing(self.line, parts.registration, parts.trunks, settings.ringback)
        self.relocation = Relocation(self.line, parts.planes)
        self.line.instead = self.relocation.instead
        self.recording_failures = Throttle(RECORDING_FAILED_EVERY)
        self.entrance = Entrance(self.line, parts.screening, note=parts.note, answer=self._answer, at_once=parts.send)
        self.calls: dict[CallId, LiveCall] = {}
        self.keeping = Keeping(self.calls, self.line)
        self.arrivals = Arrivals(self, parts, settings.max_calls)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pumping = False
        self.quiet = asyncio.Event()
        """Set while there is no call."""
        self.quiet.set()
        self.draining = False
        """Refuse new calls from outside; what agents dial to serve those in progress is taken."""
        self.closing = False
        """Refuse those too: the calls are being ended."""

    # --- from the transports ------------------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow) -> None:
        """One whole message, or what pretends to be one."""
        self.entrance.receive(data, flow)

    @property
    def transactions(self) -> float:
        """Share of the transaction table in use."""
        return self._layer.share

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        now = self.clock.monotonic()
        self.entrance.flow_lost(flow)
        self._layer.flow_failed(flow, now)
        self._registration.disconnected(flow, now)
        self._trunks.flow_lost(flow)
        self.arrivals.flow_lost(flow)
        self._pump()

    def media_event(self, plane: Plane, event: MediaEvent) -> None:
        """One event of a media process; those without a leg of ours are late, and nobody's."""
        leg = self.line.ports.get((plane, event.port))
        if leg is not None:
            if isinstance(event, PortClosed):
                del self.line.ports[plane, event.port]
            leg.media_event(plane, event)

    def media_lost(self, plane: Plane) -> None:
        """A media process is gone: its legs go to another one, those that cannot be moved end."""
        self.relocation.lost(plane)

    # --- for calls ----------------------------------------------------------------------------------------------

    async def dial(self, call: LiveCall, order: Dial) -> Dialled:
        """See Call.dial."""
        return await self._placing.dial(call, order)

    def needs(self, plane: Plane) -> bool:
        """Whether any call has to do with this media process."""
        return any(call.leg.plane is plane for call in self.calls.values()) or any(
            owner is plane for owner, _ in self.line.ports
        )

    def play_music(self, leg: SipLeg) -> None:
        """For a party on hold."""
        if leg.has_media and self._settings.music:
            leg.plane.play(leg.port, PlayId(0), [self._settings.music], loop=True, barge_in=False)

    @property
    def music(self) -> str:
        return self._settings.music

    def hosts(self, leg: SipLeg) -> set[str]:
        """Names by which the far end of a leg may call us."""
        ours = {self.line.settings.domain, leg.flow.local[0], self.line.sent_by(leg.flow)[0]}
        return {host.lower() for host in ours} | self._admission.domains

    def may_transfer_to(self, number: str) -> bool:
        return self._dialplan.takes(number)

    def recording_path(self, call: CallId, number: int) -> str:
        """Relative to the recordings folder: a folder a day (UTC), named by nothing that a caller could choose."""
        day = self.clock.day()
        return f"{day}/{call}.wav" if number == 1 else f"{day}/{call}-{number}.wav"

    def call_gone(self, call: LiveCall) -> None:
        self.calls.pop(call.id, None)
        self.keeping.touch(call.id)
        if not self.calls:
            self.quiet.set()
        self._admission.released(call.trunk)

    # --- another process ----------------------------------------------------------------------------------------

    def app_of(self, call: LiveCall) -> App:
        """The application of a call that goes on."""
        return self._dialplan.route(call.dialled, call.leg.phone) or self._dialplan.go_on

    def count_on_trunk(self, leg: OutboundLeg, trunk: str) -> None:
        """A leg that goes on takes its channel."""
        limits = self._trunks.taken(trunk, self.clock.monotonic())
        if limits is not None:
            leg.ended.add_done_callback(lambda _: limits.release())

    def credentials_of(self, trunk: str) -> Credentials | None:
        return self._trunks.credentials(trunk)

    # --- life ---------------------------------------------------------------------------------------------------

    def hangup_all(self, reason: str) -> None:
        """End every call from our side."""
        for call in list(self.calls.values()):
            call.leg.hangup(reason)
            call.end(EndedBy.SYSTEM, reason)

    def report(self) -> None:
        """Journal what was counted since the last report, and forget what needs no more remembering."""
        now = self.clock.monotonic()
        lingering = self.line.lingering
        while lingering and lingering[0][0] <= now:
            self.line.clients.pop(lingering.popleft()[1], None)
        self._registration.expire(now)
        self._screening.gate.sweep(now)
        report = self._counts.take()
        if report is not None:
            self.emit(report)

    # --- the transaction layer's outputs --------------------------------------------------------------------------

    def _pump(self) -> None:
        """Carry out what the layer has to say. Handlers give it new orders and call this again: the outermost call
        takes those too, in order."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while outputs := self._layer.poll():
                for output in outputs:
                    try:
                        self._carry_out(output)
                    except Exception:  # one message must not take those behind it, and their calls, with it
                        log.exception("message failed", output=type(output).__name__)
                        self._failed(output)
        finally:
            self._pumping = False
        self._arm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case Send():
                self._outbox.add(self._deliver, output.flow, output.data)
            case RequestArrived():
                self._request(output)
            case ResponseArrived():
                self._response(output)
            case AckArrived():
                call_id, _, remote_tag = identity = dialog_id(output.request)
                leg = self.line.dialogs.get(identity) or self.line.unacknowledged.get((call_id, remote_tag))
                if leg is not None:
                    leg.acked(output.request)
            case _:
                self._rare(output)

    def _rare(self, output: Output) -> None:
        match output:
            case CancelArrived():
                self.arrivals.cancelled(output.key)
            case RequestFailed():
                handler = self.line.clients.pop(output.key, None)
                if handler is not None:
                    handler.failed(output.key, output.why)
            case FellBack():
                self.line.large.refused(output.remote, self.clock.monotonic())
            case AckTimedOut():
                pass  # our refusal was never acknowledged: there is nothing left to free

    def _failed(self, output: Output) -> None:
        """A fault of ours: the request has its answer all the same, and the call that it belongs to ends."""
        if isinstance(output, RequestArrived):
            self._respond(output.key, reply(output.request, 500, to_tag=self.ids.token()))
            leg = self.line.dialogs.get(dialog_id(output.request))
            if leg is not None:
                leg.hangup("internal_error")

    def _response(self, output: ResponseArrived) -> None:
        key, response = output
        self._counts.heard[key[1], response.status] += 1
        handler = self.line.clients.get(key)
        if handler is None:
            return
        if response.status >= 200 and key[1] != "INVITE":
            del self.line.clients[key]
        handler.response(key, response)

    def _answer(self, flow: Flow, data: bytes) -> None:
        self._outbox.add(self._deliver, flow, data)

    def _deliver(self, flow: Flow, data: bytes) -> None:
        """An effect: events are written, the message may leave. What can't leave fails at once, not by time-out."""
        self._note(data, flow, sent=True)
        if not self._send(flow, data):
            self._layer.flow_failed(flow, self.clock.monotonic())
            self._pump()

    def _arm(self) -> None:
        deadline = self._layer.deadline
        if deadline is None:
            return
        if self._timer is None or deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._layer.tick(self.clock.monotonic())
        self._pump()

    # --- requests -------------------------------------------------------------------------------------------------

    def _request(self, arrived: RequestArrived) -> None:
        key, request, flow = arrived
        self._counts.received[request.method if request.method in METHODS else "other"] += 1
        if request.to_tag is not None:
            leg = self.line.dialogs.get(dialog_id(request))
            if leg is None:
                self._respond(key, reply(request, 481))
            else:
                leg.request(key, request, flow)
            return
        response = self._outside_dialog(key, request, flow)
        if response is not None:
            self._respond(key, response)

    def _outside_dialog(self, key: ServerKey, request: Request, flow: Flow) -> Response | None:
        match request.method:
            case "INVITE":
                return self.arrivals.invite(key, request, flow)
            case "REGISTER" | "OPTIONS" if refusal := not_understood(request, self.ids.token()):
                return refusal
            case "REGISTER":
                return self._registration.handle(request, flow, self.clock.monotonic())
            case "OPTIONS":
                return options(request, self.ids.token(), draining=self.draining and self.arrivals.from_trunk(flow))
            case "REFER":  # only who is in a talk with us has somebody to transfer
                return reply(request, 403, to_tag=self.ids.token())
            case "BYE" | "INFO" | "PRACK":
                return reply(request, 481, to_tag=self.ids.token())
        return not_allowed(request, self.ids.token())

    def _respond(self, key: ServerKey, response: Response) -> None:
        if response.status > 100:
            response.headers.add("Server", SERVER)
        self.line.respond(key, response)
