"""The user agent: brings every SIP message to the transaction, dialog, registration or call that it belongs to
(RFC 3261 §8.2, §12.2.2). It has no socket and sees no packet: `receive` takes messages from the transports, effects
leave through the outbox.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
from msgspec.json import encode

from engine.admission import Admission, Admitted
from engine.call import Dial, Dialled
from engine.caller_leg import CallerLeg
from engine.intake import Intake
from engine.large import LargeRequests
from engine.leg import SipLeg
from engine.line import ALLOW, SERVER, FlowTo, Line, LineSettings
from engine.media.plane import MediaEvent, Plane, PlayId, PortClosed
from engine.outbound_leg import OutboundLeg
from engine.outbox import Outbox
from engine.placing import Placing
from engine.ports import Dialplan, Planes
from engine.refusals import RETRY_AFTER_DRAIN, busy, not_allowed, not_understood, options, replacing, unsupported
from engine.registration import Registration
from engine.relocation import Relocation
from engine.screening import Screening
from engine.session import App, LiveCall
from engine.sip.dialog import DialogId, dialog_id
from engine.sip.flow import Flow, FlowFault
from engine.sip.grammar import ParseError
from engine.sip.message import Request, Response, reply
from engine.sip.parse import bad_request, parse
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
from events.types import CallArrived, CallRefused, EndedBy, Event
from kernel.clock import Clock
from kernel.ids import CallId, Ids, LegId

log = structlog.get_logger()

METHODS = frozenset(ALLOW.split(", "))

MALFORMED_EVERY = 1.0
"""Seconds between two log lines on messages that could not be read."""
RECORDING_FAILED_EVERY = 30.0
"""The same on recordings that the disk did not take; the log of events has each."""


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
        self._malformed = Throttle(MALFORMED_EVERY)
        self.recording_failures = Throttle(RECORDING_FAILED_EVERY)
        self._intake = Intake(
            self._take, asyncio.get_running_loop().call_soon, parts.clock.monotonic, parts.screening.gate.dropped
        )
        self.calls: dict[CallId, LiveCall] = {}
        self._touched: set[CallId] = set()
        self._kept: dict[CallId, set[SipLeg]] = {}
        """Legs that are saved, by the call that they belong or belonged to."""
        self._invites: dict[ServerKey, CallerLeg] = {}
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
        if len(data) < 5 and not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 §3.5.1 and what phones send in its place)
        now = self.clock.monotonic()
        if not self._screening.gate.opens(data, flow, now):
            return
        if not (self._screening.overload.shedding and self._shed(data, flow, now)):
            self._intake.take(data, flow)

    def _take(self, data: bytes, flow: Flow) -> None:
        """Its turn has come. New calls that waited for it since before there were too many are refused at a glance."""
        now = self.clock.monotonic()
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
        self._pump()

    def _shed(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a message is done with unparsed, as a call too many. Its answer waits for no commit: no event is
        behind it."""
        shed = self._screening.shed(data, flow, now, self._layer.holds_key)
        if shed is None:
            return False
        if shed.flow is not None:
            self._counts.received["INVITE"] += 1
            self._counts.sent["INVITE", 503] += 1
            self._send(shed.flow, shed.data)
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
        self._counts.received[method] += 1
        self._counts.sent[method, response.status] += 1
        self._outbox.add(self._deliver, back, response.encode())
        return False

    def _is_stray(self, request: Request) -> bool:
        """It belongs to a dialog or an INVITE that there is not (any more): 481, as RFC 3261 §9.2 and §12.2.2 say."""
        if request.method == "CANCEL":
            return not self._layer.holds(request, "INVITE")
        return request.to_tag is not None and dialog_id(request) not in self.line.dialogs

    @property
    def transactions(self) -> float:
        """Share of the transaction table in use."""
        return self._layer.share

    @property
    def delay(self) -> float:
        """Seconds that the first of the new calls has waited for its turn."""
        return self._intake.delay(self.clock.monotonic())

    @property
    def waiting(self) -> int:
        """New calls that wait for their turn."""
        return self._intake.waiting

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        now = self.clock.monotonic()
        self._intake.lost(flow)
        self._screening.gate.flow_lost(flow)
        self._layer.flow_failed(flow, now)
        self._registration.disconnected(flow, now)
        self._trunks.flow_lost(flow)
        for leg in list(self._invites.values()):
            leg.flow_lost(flow)
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
        self._touched.add(call.id)
        if not self.calls:
            self.quiet.set()
        self._admission.released(call.trunk)

    # --- another process ----------------------------------------------------------------------------------------

    def touched_call(self, call: CallId) -> None:
        """It is to be saved at the end of this turn of the loop."""
        self._touched.add(call)

    def happened(self, event: Event) -> None:
        """Whatever is told of a call changes it."""
        call = getattr(event, "call", None)
        if call in self.calls:
            self._touched.add(call)

    def save(self, put: Callable[[str, bytes], None]) -> None:
        """Keep what has changed since this was last called, for `restoring.restore`: put(key, state)."""
        if self._touched:
            touched, self._touched = self._touched, set()
            for call_id in touched:
                call = self.calls.get(call_id)
                put(f"call/{call_id}", encode(call.state()) if call is not None else b"")
                if call is None:
                    self.line.touched.update(self._kept.pop(call_id, ()))
        if self.line.touched:
            legs, self.line.touched = self.line.touched, set()
            for leg in legs:
                self._save_leg(leg, put)

    def _save_leg(self, leg: SipLeg, put: Callable[[str, bytes], None]) -> None:
        """A leg is kept as long as its call, which may ask how it ended, and then until nothing more comes of it."""
        if leg.call in self.calls:
            self._kept.setdefault(leg.call, set()).add(leg)
        elif leg.spent:
            put(f"leg/{leg.tag}", b"")
            return
        put(f"leg/{leg.tag}", encode(leg.state()))

    def take_up(self, call: LiveCall, leg: CallerLeg) -> None:
        """A call of a process before this one goes on."""
        self.calls[call.id] = call
        self.quiet.clear()
        self.touched_call(call.id)
        self._admission.taken(call.trunk, self.clock.monotonic())
        if leg.pending is not None:
            self._invites[leg.pending] = leg
            leg.ended.add_done_callback(partial(self._forget_invite, leg.pending))

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
                invited = self._invites.get(output.key)
                if invited is not None:
                    invited.cancelled()
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

    def _refuse(self, error: ParseError, flow: Flow) -> None:
        answer = bad_request(error)
        self._counts.malformed += 1
        self._counts.dropped += answer is None
        count = self._malformed.take(self.clock.monotonic())
        if count:
            told = {"source": str(flow), "reason": error.reason, "offset": error.offset, "count": count}
            log.info("malformed", **told, answered=answer is not None)
        if answer is not None:
            self._outbox.add(self._deliver, flow, answer)

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
                return self._invite(key, request, flow)
            case "REGISTER" | "OPTIONS" if refusal := not_understood(request, self.ids.token()):
                return refusal
            case "REGISTER":
                return self._registration.handle(request, flow, self.clock.monotonic())
            case "OPTIONS":
                return options(request, self.ids.token(), draining=self.draining and self._from_trunk(flow))
            case "REFER":  # only who is in a talk with us has somebody to transfer
                return reply(request, 403, to_tag=self.ids.token())
            case "BYE" | "INFO" | "PRACK":
                return reply(request, 481, to_tag=self.ids.token())
        return not_allowed(request, self.ids.token())

    def _invite(self, key: ServerKey, request: Request, flow: Flow) -> Response | None:
        """A new call, or the response that refuses it."""
        now = self.clock.monotonic()
        admitted = self._admission.admit(request, flow, now)
        if isinstance(admitted, Response):
            return admitted
        dialled = admitted.dialled
        app = self._dialplan.route(dialled, admitted.phone)
        refusal = self._refusal(request, app, admitted, now)
        if refusal is not None:
            return self._refused_call(request, flow, admitted, refusal)
        plane = self._plane_of(admitted.phone) or self._planes.choose()
        if plane is None or app is None:
            return self._refused_call(request, flow, admitted, busy(request, self.ids.token(), "no media process"))
        call_id = self.ids.call(self.clock.wall())
        leg_id = LegId(f"{call_id}-1")
        leg = CallerLeg(self.line, plane, call_id, leg_id, flow, key, request, admitted.profile)
        leg.phone = admitted.phone
        leg.credentials = self._trunks.credentials(admitted.trunk)
        call = LiveCall(
            self, call_id, leg, caller=admitted.caller, name=admitted.name, dialled=dialled, trunk=admitted.trunk
        )
        self.calls[call_id] = call
        self.quiet.clear()
        self._invites[key] = leg
        leg.touch()
        leg.ended.add_done_callback(partial(self._forget_invite, key))
        self._admission.taken(admitted.trunk, now)
        self.emit(
            CallArrived(
                call=call_id,
                sip_call_id=request.call_id[:256],
                caller=admitted.caller,
                caller_name=admitted.name,
                dialled=dialled,
                source=str(flow),
                trunk=admitted.trunk,
            )
        )
        self._respond(key, reply(request, 100))
        call.start(app)
        return None

    def _from_trunk(self, flow: Flow) -> bool:
        return self._admission.trunk_of(flow) is not None

    def _plane_of(self, phone: str) -> Plane | None:
        """The media process of the call that a phone of ours is in. Whom it calls beside that may come to talk to that
        caller, which takes one media process."""
        if not phone:
            return None
        talks = (call.partner for call in self.calls.values())
        return next((leg.plane for leg in talks if leg is not None and leg.phone == phone), None)

    def _refusal(self, request: Request, app: App | None, admitted: Admitted, now: float) -> Response | None:
        tag = self.ids.token()
        serves = admitted.phone and not self.closing and self._dialplan.internal(admitted.dialled)
        if self.draining and not serves:
            return busy(request, tag, "shutting down", RETRY_AFTER_DRAIN)
        full = "too many calls" if len(self.calls) >= self._settings.max_calls else ""
        if full := full or self._admission.full(admitted.trunk, now):
            return busy(request, tag, full)
        if request.headers.get("Replaces") is not None:
            return replacing(request, tag, self._is_replaceable)
        refusal = unsupported(request, tag)
        return reply(request, 404, to_tag=tag) if refusal is None and app is None else refusal

    def _is_replaceable(self, dialog: DialogId) -> bool:
        """RFC 3891 §3: an early dialog that the peer began is none to be replaced."""
        leg = self.line.dialogs.get(dialog)
        return leg is not None and (leg.answered or not isinstance(leg, CallerLeg))

    def _refused_call(self, request: Request, flow: Flow, admitted: Admitted, response: Response) -> Response:
        self.emit(
            CallRefused(
                sip_call_id=request.call_id[:256],
                caller=admitted.caller,
                dialled=admitted.dialled,
                source=str(flow),
                trunk=admitted.trunk,
                sip_status=response.status,
                reason=response.reason,
            )
        )
        return response

    def _forget_invite(self, key: ServerKey, _: object) -> None:
        self._invites.pop(key, None)

    def _respond(self, key: ServerKey, response: Response) -> None:
        if response.status > 100:
            response.headers.add("Server", SERVER)
        self.line.respond(key, response)
