"""Pure folds over the log: what live views, metrics and restart know, and nothing else counts.

`LiveState` is now: fold every record once, in order, and it shows what is going on. Folding a journal again gives an
equal state, so a reader may start from the files at any time. Ages are functions of a given `now`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from events import types as ev
from events.live import (
    CallState,
    Incident,
    LegState,
    LiveAgent,
    LiveCall,
    LiveLeg,
    LivePhone,
    LiveProcess,
    LiveQueue,
    LiveTrunk,
    RecordingTotals,
    RtpTotals,
    SipTotals,
    TrunkCalls,
)
from events.types import AgentState, CallOutcome, Event, Recorded
from kernel.ids import AgentName, CallId, QueueName

INCIDENTS_KEPT = 50


@dataclass(slots=True)
class LiveState:
    seq: int = 0
    at: float = 0.0
    calls: dict[CallId, LiveCall] = field(default_factory=dict)
    outcomes: Counter[CallOutcome] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    """INVITEs that became no call, by SIP status."""
    queues: dict[QueueName, LiveQueue] = field(default_factory=dict)
    agents: dict[AgentName, LiveAgent] = field(default_factory=dict)
    phones: dict[tuple[str, str], LivePhone] = field(default_factory=dict)
    """(address of record, contact) -> binding."""
    authentication_failures: int = 0
    sip: SipTotals = field(default_factory=SipTotals)
    rtp: RtpTotals = field(default_factory=RtpTotals)
    recordings: RecordingTotals = field(default_factory=RecordingTotals)
    recording_now: dict[str, CallId] = field(default_factory=dict)
    """Path -> call."""
    media: dict[str, tuple[float, ev.MediaReported]] = field(default_factory=dict)
    """Media process -> (time, its last report)."""
    control: tuple[float, ev.ControlReported] | None = None
    control_started: tuple[float, ev.ControlStarted] | None = None
    draining: bool = False
    """New calls are refused, since an orderly stop has begun."""
    processes: dict[str, LiveProcess] = field(default_factory=dict)
    trunks: dict[str, LiveTrunk] = field(default_factory=dict)
    open_incidents: dict[tuple[str, str], Incident] = field(default_factory=dict)
    """(kind, whom it concerns) -> a fault that has not ended. Kinds: trunk_down, trunk_target_down,
    trunk_unregistered, disk_low."""
    incidents: deque[Recorded] = field(default_factory=lambda: deque(maxlen=INCIDENTS_KEPT))
    """The last few events that a person should look at."""

    def apply(self, record: Recorded) -> None:
        """Fold one record; one that was folded already (seq not above ours) changes nothing. Raises nothing."""
        if record.seq <= self.seq:
            return
        self.seq = record.seq
        self.at = record.at
        event = record.event
        step = _STEPS.get(type(event))
        if step is not None:
            step(self, event, record.at)
        if type(event) in _INCIDENTS:
            self.incidents.append(record)

    def calls_by_state(self) -> dict[CallState, int]:
        """Every state is there, zeros too."""
        counts = dict.fromkeys(CallState, 0)
        for call in self.calls.values():
            counts[call.state] += 1
        return counts

    def agents_by_state(self) -> dict[AgentState, int]:
        """Every state is there, zeros too."""
        counts = dict.fromkeys(AgentState, 0)
        for agent in self.agents.values():
            counts[agent.state] += 1
        return counts

    def trunk_calls(self) -> dict[str, TrunkCalls]:
        """By trunk; those that are used now."""
        found: dict[str, TrunkCalls] = {}
        for call in self.calls.values():
            if call.trunk:
                found.setdefault(call.trunk, TrunkCalls()).incoming += 1
            for leg in call.legs.values():
                if leg.trunk:
                    found.setdefault(leg.trunk, TrunkCalls()).outgoing += 1
        return found

    def talking(self, queue: QueueName) -> int:
        """Calls of this queue that talk to an agent."""
        return sum(call.state is CallState.TALKING and call.queue == queue for call in self.calls.values())


def fold(records: Iterable[Recorded], state: LiveState | None = None) -> LiveState:
    """All records into a state (a new one, or the given one, which is changed)."""
    state = LiveState() if state is None else state
    for record in records:
        state.apply(record)
    return state


# --- calls ----------------------------------------------------------------------------------------------------


def _arrived(s: LiveState, e: ev.CallArrived, at: float) -> None:
    s.calls[e.call] = LiveCall(
        e.call, e.sip_call_id, e.caller, e.caller_name, e.dialled, e.source, e.trunk, at, CallState.ARRIVED, at
    )


def _move(call: LiveCall, state: CallState, at: float) -> None:
    if call.state is not state:
        call.state = state
        call.since = at


def _answered(s: LiveState, e: ev.CallAnswered, at: float) -> None:
    if call := s.calls.get(e.call):
        call.answered_at = at
        if call.state is CallState.ARRIVED:
            _move(call, CallState.FLOW, at)


def _ended(s: LiveState, e: ev.CallEnded, _at: float) -> None:
    s.outcomes[e.outcome] += 1
    call = s.calls.pop(e.call, None)
    if call is not None and call.recording:
        s.recording_now.pop(call.recording, None)


def _refused(s: LiveState, e: ev.CallRefused, _at: float) -> None:
    s.refused[e.sip_status] += 1


def _leg_dialled(s: LiveState, e: ev.LegDialled, at: float) -> None:
    if call := s.calls.get(e.call):
        call.legs[e.leg] = LiveLeg(e.leg, e.target, LegState.DIALLED, at, e.trunk)


def _leg_to(state: LegState) -> Callable[[LiveState, ev.LegRinging | ev.LegAnswered, float], None]:
    def step(s: LiveState, e: ev.LegRinging | ev.LegAnswered, at: float) -> None:
        call = s.calls.get(e.call)
        leg = call.legs.get(e.leg) if call else None
        if leg is not None and leg.state is not state:
            leg.state = state
            leg.since = at

    return step


def _leg_ended(s: LiveState, e: ev.LegEnded, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.hung_up |= call.legs.pop(e.leg, None) is None  # not one that we dialled: the caller's own


def _held(s: LiveState, e: ev.CallHeld, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.held = True


def _not_held(s: LiveState, e: ev.CallResumed | ev.CallUnbridged, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.held = False


def _attribute(s: LiveState, e: ev.AttributeSet, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.attributes[e.name] = e.value


def _flow_entered(s: LiveState, e: ev.FlowEntered, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow, call.node = e.flow, ""


def _node_entered(s: LiveState, e: ev.NodeEntered, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow, call.node = e.flow, e.node


def _flow_left(s: LiveState, e: ev.FlowLeft, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.flow = call.node = ""


# --- recordings and media -------------------------------------------------------------------------------------


def _recording_started(s: LiveState, e: ev.RecordingStarted, _at: float) -> None:
    s.recordings.started += 1
    s.recording_now[e.path] = e.call
    if call := s.calls.get(e.call):
        call.recording = e.path


def _recording_stopped(s: LiveState, e: ev.RecordingStopped, _at: float) -> None:
    s.recordings.stopped += 1
    s.recordings.seconds += e.seconds
    s.recordings.lost_frames += e.lost_frames
    s.recording_now.pop(e.path, None)
    call = s.calls.get(e.call)
    if call is not None and call.recording == e.path:
        call.recording = ""


def _leg_media(s: LiveState, e: ev.LegMediaReported, _at: float) -> None:
    rtp = s.rtp
    rtp.legs += 1
    rtp.packets_received += e.packets_received
    rtp.packets_sent += e.packets_sent
    rtp.packets_lost += e.packets_lost
    rtp.remote_lost += max(0, e.remote_lost)
    rtp.strangers += e.strangers


def _rtp_timed_out(s: LiveState, _e: ev.RtpTimedOut, _at: float) -> None:
    s.rtp.timeouts += 1


def _media_reported(s: LiveState, e: ev.MediaReported, at: float) -> None:
    s.media[e.media] = (at, e)


# --- phones ---------------------------------------------------------------------------------------------------


def _registered(s: LiveState, e: ev.PhoneRegistered, at: float) -> None:
    s.phones[e.aor, e.contact] = LivePhone(e.source, e.user_agent, at, e.expires)


def _refreshed(s: LiveState, e: ev.PhoneRefreshed, _at: float) -> None:
    if phone := s.phones.get((e.aor, e.contact)):
        phone.expires = e.expires


def _unregistered(s: LiveState, e: ev.PhoneUnregistered, _at: float) -> None:
    s.phones.pop((e.aor, e.contact), None)


def _authentication_failed(s: LiveState, e: ev.AuthenticationFailed, _at: float) -> None:
    s.authentication_failures += e.count


# --- queues and agents ----------------------------------------------------------------------------------------


def _queue(s: LiveState, name: QueueName) -> LiveQueue:
    queue = s.queues.get(name)
    if queue is None:
        queue = s.queues[name] = LiveQueue()
    return queue


def _queued(s: LiveState, e: ev.CallQueued, at: float) -> None:
    queue = _queue(s, e.queue)
    queue.offered += 1
    queue.waiting[e.call] = at
    if call := s.calls.get(e.call):
        call.queue, call.queued_at, call.position = e.queue, at, e.position
        _move(call, CallState.QUEUED, at)


def _announced(s: LiveState, e: ev.PositionAnnounced, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.position = e.position


def _offered(s: LiveState, e: ev.CallOffered, _at: float) -> None:
    call = s.calls.get(e.call)
    if call is not None and e.queue:
        call.agent, call.offer = e.agent, e.offer
    elif call is not None:
        call.onward = (e.agent, e.offer)


def _not_taken(s: LiveState, e: ev.OfferMissed | ev.OfferWithdrawn, _at: float) -> None:
    call = s.calls.get(e.call)
    if call is not None and call.onward == (e.agent, e.offer):
        call.onward = None
    elif call is not None and call.offer == e.offer:
        call.agent = call.offer = None


def _leave(s: LiveState, e: ev.CallConnected | ev.CallAbandoned | ev.CallFlowedOut) -> LiveQueue:
    """Out of the waiting line. One refused at the door (queue full) was offered too, though never in it."""
    queue = _queue(s, e.queue)
    if queue.waiting.pop(e.call, None) is None:
        queue.offered += 1
    return queue


def _connected(s: LiveState, e: ev.CallConnected, at: float) -> None:
    if e.queue:
        _leave(s, e).answered += 1
    if call := s.calls.get(e.call):
        call.onward = None
        call.queue, call.agent, call.offer, call.position = e.queue, e.agent, e.offer, 0
        _move(call, CallState.TALKING, at)


def _back_to_flow(s: LiveState, call_id: CallId, at: float) -> None:
    if call := s.calls.get(call_id):
        call.queue = call.queued_at = call.agent = call.offer = None
        call.position = 0
        _move(call, CallState.FLOW, at)


def _abandoned(s: LiveState, e: ev.CallAbandoned, at: float) -> None:
    _leave(s, e).abandoned += 1
    _back_to_flow(s, e.call, at)


def _flowed_out(s: LiveState, e: ev.CallFlowedOut, at: float) -> None:
    _leave(s, e).flowed_out[e.why] += 1
    _back_to_flow(s, e.call, at)


def _released(s: LiveState, e: ev.CallReleased, at: float) -> None:
    if call := s.calls.get(e.call):
        call.talked += e.talked
    _back_to_flow(s, e.call, at)


def _joined(s: LiveState, e: ev.AgentJoined, at: float) -> None:
    if call := s.calls.get(e.call):
        call.joined[e.agent] = at


def _left(s: LiveState, e: ev.AgentLeft, _at: float) -> None:
    if call := s.calls.get(e.call):
        call.joined.pop(e.agent, None)


def _agent_changed(s: LiveState, e: ev.AgentStateChanged, at: float) -> None:
    s.agents[e.agent] = LiveAgent(e.state, at, e.reason, e.call)


# --- health ---------------------------------------------------------------------------------------------------


def _process_started(s: LiveState, e: ev.ProcessStarted, at: float) -> None:
    before = s.processes.get(e.process)
    status, starts = (before.status, before.starts) if before else ("", 0)
    s.processes[e.process] = LiveProcess(e.pid, True, at, starts + 1, status)


def _process_adopted(s: LiveState, e: ev.ProcessAdopted, at: float) -> None:
    before = s.processes.get(e.process)
    if before is None or not before.up:
        s.processes[e.process] = LiveProcess(e.pid, True, at, before.starts if before else 0, "")


def _process_exited(s: LiveState, e: ev.ProcessExited, at: float) -> None:
    before = s.processes.get(e.process)
    s.processes[e.process] = LiveProcess(e.pid, False, at, before.starts if before else 0, e.status)


def _sip_reported(s: LiveState, e: ev.SipReported, _at: float) -> None:
    s.sip.requests.update(e.requests)
    s.sip.responses_sent.update(e.responses_sent)
    s.sip.responses_received.update(e.responses_received)
    s.sip.retransmissions_sent += e.retransmissions_sent
    s.sip.retransmissions_received += e.retransmissions_received
    s.sip.malformed += e.malformed
    s.sip.dropped += e.dropped


def _control_reported(s: LiveState, e: ev.ControlReported, at: float) -> None:
    s.control = (at, e)


def _control_started(s: LiveState, e: ev.ControlStarted, at: float) -> None:
    s.control_started = (at, e)
    s.draining = False


def _drain_ended(s: LiveState, e: ev.DrainEnded, _at: float) -> None:
    s.draining = s.draining and not e.given_up


def _drain_began(s: LiveState, _e: ev.DrainBegan, _at: float) -> None:
    s.draining = True


# --- trunks ---------------------------------------------------------------------------------------------------


def _trunk_started(s: LiveState, e: ev.TrunkStarted, _at: float) -> None:
    """What was so before holds until it is told otherwise; of targets that are no more, and of registration, nothing is
    known."""
    before = s.trunks.get(e.trunk)
    trunk = s.trunks[e.trunk] = LiveTrunk(tuple(e.targets), e.registers)
    if before is not None:
        trunk.down_since, trunk.fault = before.down_since, before.fault
        trunk.targets_down = {target: at for target, at in before.targets_down.items() if target in e.targets}
    for target in before.targets_down.keys() - trunk.targets_down.keys() if before else ():
        s.open_incidents.pop(("trunk_target_down", f"{e.trunk} {target}"), None)
    if not e.registers:
        s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


def _trunk_removed(s: LiveState, e: ev.TrunkRemoved, _at: float) -> None:
    s.trunks.pop(e.trunk, None)
    for kind, subject in list(s.open_incidents):
        if subject.partition(" ")[0] == e.trunk and kind.startswith("trunk_"):
            del s.open_incidents[kind, subject]


def _target_down(s: LiveState, e: ev.TrunkTargetDown, at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.targets_down.setdefault(e.target, at)
        trunk.fault = Incident(at, f"{e.target}: {e.why}")
    s.open_incidents.setdefault(("trunk_target_down", f"{e.trunk} {e.target}"), Incident(at, e.why))


def _target_up(s: LiveState, e: ev.TrunkTargetUp, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.targets_down.pop(e.target, None)
    s.open_incidents.pop(("trunk_target_down", f"{e.trunk} {e.target}"), None)


def _target_unresolved(s: LiveState, e: ev.TrunkTargetUnresolved, at: float) -> None:
    s.open_incidents.setdefault(("trunk_target_unresolved", f"{e.trunk} {e.target}"), Incident(at, e.why))


def _target_resolved(s: LiveState, e: ev.TrunkTargetResolved, _at: float) -> None:
    s.open_incidents.pop(("trunk_target_unresolved", f"{e.trunk} {e.target}"), None)


def _trunk_down(s: LiveState, e: ev.TrunkDown, at: float) -> None:
    trunk = s.trunks.get(e.trunk)
    if trunk is not None and trunk.down_since is None:
        trunk.down_since = at
    s.open_incidents.setdefault(("trunk_down", e.trunk), Incident(at, e.why))


def _trunk_up(s: LiveState, e: ev.TrunkUp, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.down_since = None
    s.open_incidents.pop(("trunk_down", e.trunk), None)


def _trunk_registered(s: LiveState, e: ev.TrunkRegistered, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = True
    s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


def _registration_failed(s: LiveState, e: ev.TrunkRegistrationFailed, at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = False
        trunk.fault = Incident(at, f"registration: {e.why}")
    s.open_incidents.setdefault(("trunk_unregistered", e.trunk), Incident(at, e.why))


def _trunk_unregistered(s: LiveState, e: ev.TrunkUnregistered, _at: float) -> None:
    if trunk := s.trunks.get(e.trunk):
        trunk.registered = False
    s.open_incidents.pop(("trunk_unregistered", e.trunk), None)


# --- storage --------------------------------------------------------------------------------------------------


def _disk_low(s: LiveState, e: ev.DiskLow, at: float) -> None:
    s.open_incidents.setdefault(("disk_low", e.folder), Incident(at, f"{e.free_bytes >> 20} MB free"))


def _disk_enough(s: LiveState, e: ev.DiskEnough, _at: float) -> None:
    s.open_incidents.pop(("disk_low", e.folder), None)


_INCIDENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        ev.ProcessExited,
        ev.ProcessStalled,
        ev.FlowFailed,
        ev.RtpTimedOut,
        ev.AuthenticationFailed,
        ev.ControlStarted,
        ev.SourceBlocked,
        ev.OverloadBegan,
        ev.TrunkDown,
        ev.JournalWaited,
        ev.RecordingFailed,
        ev.DiskLow,
    }
)

_Step = Callable[[LiveState, Any, float], None]
_STEPS: Final[Mapping[type[Event], _Step]] = MappingProxyType(
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
        ev.PhoneRegistered: _registered,
        ev.PhoneRefreshed: _refreshed,
        ev.PhoneUnregistered: _unregistered,
        ev.AuthenticationFailed: _authentication_failed,
        ev.CallQueued: _queued,
        ev.PositionAnnounced: _announced,
        ev.CallOffered: _offered,
        ev.OfferMissed: _not_taken,
        ev.OfferWithdrawn: _not_taken,
        ev.CallConnected: _connected,
        ev.CallAbandoned: _abandoned,
        ev.CallFlowedOut: _flowed_out,
        ev.CallReleased: _released,
        ev.AgentJoined: _joined,
        ev.AgentLeft: _left,
        ev.AgentStateChanged: _agent_changed,
        ev.TrunkStarted: _trunk_started,
        ev.TrunkRemoved: _trunk_removed,
        ev.TrunkTargetDown: _target_down,
        ev.TrunkTargetUp: _target_up,
        ev.TrunkTargetUnresolved: _target_unresolved,
        ev.TrunkTargetResolved: _target_resolved,
        ev.TrunkDown: _trunk_down,
        ev.TrunkUp: _trunk_up,
        ev.TrunkRegistered: _trunk_registered,
        ev.TrunkRegistrationFailed: _registration_failed,
        ev.TrunkUnregistered: _trunk_unregistered,
        ev.ProcessStarted: _process_started,
        ev.ProcessExited: _process_exited,
        ev.SipReported: _sip_reported,
        ev.ControlReported: _control_reported,
        ev.ControlStarted: _control_started,
        ev.DiskLow: _disk_low,
        ev.DiskEnough: _disk_enough,
        ev.DrainBegan: _drain_began,
        ev.DrainEnded: _drain_ended,
        ev.ProcessAdopted: _process_adopted,
    }
)
