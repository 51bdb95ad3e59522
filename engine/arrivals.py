"""New calls from outside: an INVITE without a dialog becomes a call, or is refused (RFC 3261 §8.2, §13.3)."""

from functools import partial
from typing import TYPE_CHECKING

from engine.admission import Admitted
from engine.caller_leg import CallerLeg
from engine.media.plane import Plane
from engine.refusals import RETRY_AFTER_DRAIN, busy, replacing, unsupported
from engine.session import App, LiveCall
from engine.sip.dialog import DialogId
from engine.sip.flow import Flow
from engine.sip.message import Request, Response, reply
from engine.sip.transactions import ServerKey
from events.types import CallArrived, CallRefused
from kernel.ids import LegId

if TYPE_CHECKING:
    from engine.ua import Parts, UserAgent


class Arrivals:
    """max_calls: how many there may be at once."""

    def __init__(self, ua: "UserAgent", parts: "Parts", max_calls: int) -> None:
        self._ua = ua
        self._max_calls = max_calls
        self._admission = parts.admission
        self._dialplan = parts.dialplan
        self._planes = parts.planes
        self._trunks = parts.trunks
        self.callers: dict[ServerKey, CallerLeg] = {}
        """Legs by the INVITE that made them, until they end."""

    def cancelled(self, key: ServerKey) -> None:
        leg = self.callers.get(key)
        if leg is not None:
            leg.cancelled()

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        for leg in list(self.callers.values()):
            leg.flow_lost(flow)

    def from_trunk(self, flow: Flow) -> bool:
        return self._admission.trunk_of(flow) is not None

    def take_up(self, call: LiveCall, leg: CallerLeg) -> None:
        """A call of a process before this one goes on."""
        self._ua.calls[call.id] = call
        self._ua.quiet.clear()
        self._ua.keeping.touch(call.id)
        self._admission.taken(call.trunk, self._ua.clock.monotonic())
        if leg.pending is not None:
            self.callers[leg.pending] = leg
            leg.ended.add_done_callback(partial(self._forget, leg.pending))

    def invite(self, key: ServerKey, request: Request, flow: Flow) -> Response | None:
        """A new call, or the response that refuses it."""
        ua, now = self._ua, self._ua.clock.monotonic()
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
            return self._refused_call(request, flow, admitted, busy(request, ua.ids.token(), "no media process"))
        call_id = ua.ids.call(ua.clock.wall())
        leg_id = LegId(f"{call_id}-1")
        leg = CallerLeg(ua.line, plane, call_id, leg_id, flow, key, request, admitted.profile)
        leg.phone = admitted.phone
        leg.credentials = self._trunks.credentials(admitted.trunk)
        call = LiveCall(
            ua, call_id, leg, caller=admitted.caller, name=admitted.name, dialled=dialled, trunk=admitted.trunk
        )
        ua.calls[call_id] = call
        ua.quiet.clear()
        self.callers[key] = leg
        leg.touch()
        leg.ended.add_done_callback(partial(self._forget, key))
        self._admission.taken(admitted.trunk, now)
        ua.emit(
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
        ua.line.respond(key, reply(request, 100))
        call.start(app)
        return None

    def _plane_of(self, phone: str) -> Plane | None:
        """The media process of the call that a phone of ours is in. Whom it calls beside that may come to talk to that
        caller, which takes one media process."""
        if not phone:
            return None
        talks = (call.partner for call in self._ua.calls.values())
        return next((leg.plane for leg in talks if leg is not None and leg.phone == phone), None)

    def _refusal(self, request: Request, app: App | None, admitted: Admitted, now: float) -> Response | None:
        tag = self._ua.ids.token()
        serves = admitted.phone and not self._ua.closing and self._dialplan.internal(admitted.dialled)
        if self._ua.draining and not serves:
            return busy(request, tag, "shutting down", RETRY_AFTER_DRAIN)
        full = "too many calls" if len(self._ua.calls) >= self._max_calls else ""
        if full := full or self._admission.full(admitted.trunk, now):
            return busy(request, tag, full)
        if request.headers.get("Replaces") is not None:
            return replacing(request, tag, self._is_replaceable)
        refusal = unsupported(request, tag)
        return reply(request, 404, to_tag=tag) if refusal is None and app is None else refusal

    def _is_replaceable(self, dialog: DialogId) -> bool:
        """RFC 3891 §3: an early dialog that the peer began is none to be replaced."""
        leg = self._ua.line.dialogs.get(dialog)
        return leg is not None and (leg.answered or not isinstance(leg, CallerLeg))

    def _refused_call(self, request: Request, flow: Flow, admitted: Admitted, response: Response) -> Response:
        self._ua.emit(
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

    def _forget(self, key: ServerKey, _: object) -> None:
        self.callers.pop(key, None)
