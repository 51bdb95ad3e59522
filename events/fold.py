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
    LiveAgent,
    LiveCall,
    LivePhone,
    LiveProcess,
    LiveQueue,
    LiveTrunk,
    RecordingTotals,
    RtpTotals,
    SipTotals,
    TrunkCalls,
)
from events.steps import calls, health, queues, trunks
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

    def drains(self) -> list[str]:
        """Processes that take no new calls and end with their last: control, which is the whole hotline, or media
        processes that an upgrade has replaced."""
        medias = [name for name, (_, report) in sorted(self.media.items()) if report.draining]
        gone = {name for name, process in self.processes.items() if not process.up}
        return [*(["control"] if self.draining else []), *(name for name in medias if name not in gone)]

    def talking(self, queue: QueueName) -> int:
        """Calls of this queue that talk to an agent."""
        return sum(call.state is CallState.TALKING and call.queue == queue for call in self.calls.values())


def fold(records: Iterable[Recorded], state: LiveState | None = None) -> LiveState:
    """All records into a state (a new one, or the given one, which is changed)."""
    state = LiveState() if state is None else state
    for record in records:
        state.apply(record)
    return state


_INCIDENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        ev.ProcessExited,
        ev.ProcessStalled,
        ev.ProcessOutgrew,
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

Step = Callable[[LiveState, Any, float], None]
"""What one type of event (the second) does at its time, UTC seconds, to the state."""
_STEPS: Final[Mapping[type[Event], Step]] = MappingProxyType(
    {**calls.STEPS, **queues.STEPS, **trunks.STEPS, **health.STEPS}
)
