"""What events say of calls, their legs and way through the flows, of recordings and of media."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from events import types as ev
from events.live import CallState, LegState, LiveCall, LiveLeg
from events.types import Event

if TYPE_CHECKING:
    from events.fold import LiveState, Step


def _arrived(s: "LiveState", e: ev.CallArrived, at: float) -> None:
    s.calls[e.call] = LiveCall(
        e.call, e.sip_call_id, e.caller, e.caller_name, e.dialled, e.source, e.trunk, at, CallState.ARRIVED, at
    )


def _answered(s: "LiveState", e: ev.CallAnswered, at: float) -> None:
    if call := s.calls.get(e.call):
        call.answered_at = at
        if call.state is CallState.ARRIVED:
            call.move(CallState.FLOW, at)


def _ended(s: "LiveState", e: ev.CallEnded, _at: float) -> None:
    s.outcomes[e.outcome] += 1
    call = s.calls.pop(e.call, None)
    if call is not None and call.recording:
        s.recording_now.pop(call.recording, None)


def _refused(s: "LiveState", e: ev.CallRefused, _at: float) -> None:
    s.refused[e.sip_status] += 1


def _leg_dialled(s: "LiveState", e: ev.LegDialled, at: float) -> None:
    if call := s.calls.get(e.call):
        call.legs[e.leg] = LiveLeg(e.leg, e.target, LegState.DIALLED, at, e.trunk)


def _leg_to(state: LegState) -> Callable[["LiveState", ev.LegRinging | ev.LegAnswered, float], None]:
    def step(s: "LiveState", e: ev.LegRinging | ev.LegAnswered, at: float) -> None:
        call = s.calls.get(e.call)
        leg = call.legs.get(e.leg) if call else None
        if leg is not None and leg.state is not state:
            leg.state = state
            leg.since = at

    return step


def _leg_ended(s: "LiveState", e: ev.LegEnded, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.hung_up |= call.legs.pop(e.leg, None) is None  # not one that we dialled: the caller's own


def _held(s: "LiveState", e: ev.CallHeld, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.held = True


def _not_held(s: "LiveState", e: ev.CallResumed | ev.CallUnbridged, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.held = False


def _attribute(s: "LiveState", e: ev.AttributeSet, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.attributes[e.name] = e.value


def _flow_entered(s: "LiveState", e: ev.FlowEntered, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow, call.node = e.flow, ""


def _node_entered(s: "LiveState", e: ev.NodeEntered, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow, call.node = e.flow, e.node


def _flow_left(s: "LiveState", e: ev.FlowLeft, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow = call.node = ""


def _recording_started(s: "LiveState", e: ev.RecordingStarted, _at: float) -> None:
    s.recordings.started += 1
    s.recording_now[e.path] = e.call
    if call := s.calls.get(e.call):
        call.recording = e.path


def _recording_stopped(s: "LiveState", e: ev.RecordingStopped, _at: float) -> None:
    s.recordings.stopped += 1
    s.recordings.seconds += e.seconds
    s.recordings.lost_frames += e.lost_frames
    s.recording_now.pop(e.path, None)
    call = s.calls.get(e.call)
    if call is not None and call.recording == e.path:
        call.recording = ""


def _leg_media(s: "LiveState", e: ev.LegMediaReported, _at: float) -> None:
    rtp = s.rtp
    rtp.legs += 1
    rtp.packets_received += e.packets_received
    rtp.packets_sent += e.packets_sent
    rtp.packets_lost += e.packets_lost
    rtp.remote_lost += max(0, e.remote_lost)
    rtp.strangers += e.strangers


def _rtp_timed_out(s: "LiveState", _e: ev.RtpTimedOut, _at: float) -> None:
    s.rtp.timeouts += 1


def _media_reported(s: "LiveState", e: ev.MediaReported, at: float) -> None:
    s.media[e.media] = (at, e)


STEPS: Final[Mapping[type[Event], "Step"]] = MappingProxyType(
    {
        ev.CallArrived: _arrived,
        ev.CallAnswered: _answered,
        ev.CallEnded: _ended,
        ev.CallRefused: _refused,
        ev.LegDialled: _leg_dialled,
        ev.LegRinging: _leg_to(LegState.RINGING),
        ev.LegAnswered: _leg_to(LegState.ANSWERED),
        ev.LegEnded: _leg_ended,
        ev.CallHeld: _held,
        ev.CallResumed: _not_held,
        ev.CallUnbridged: _not_held,
        ev.AttributeSet: _attribute,
        ev.FlowEntered: _flow_entered,
        ev.NodeEntered: _node_entered,
        ev.FlowLeft: _flow_left,
        ev.RecordingStarted: _recording_started,
        ev.RecordingStopped: _recording_stopped,
        ev.LegMediaReported: _leg_media,
        ev.RtpTimedOut: _rtp_timed_out,
        ev.MediaReported: _media_reported,
    }
)
