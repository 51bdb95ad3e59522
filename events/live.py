"""What the live view holds: calls, queues, agents, phones, processes, totals. Data only; steps/ moves it.

All times are those of the log (UTC seconds since 1970); totals count from the first record folded.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from events.types import AgentState
from kernel.ids import AgentName, CallId, LegId, OfferId, QueueName


class CallState(StrEnum):
    """Where a call is, from its caller's view. Disjoint; the sum over all is the number of calls now."""

    ARRIVED = "arrived"
    """Not answered yet."""
    FLOW = "flow"
    QUEUED = "queued"
    """Waiting, or ringing an agent."""
    TALKING = "talking"


class LegState(StrEnum):
    DIALLED = "dialled"
    RINGING = "ringing"
    ANSWERED = "answered"


@dataclass(slots=True)
class LiveLeg:
    """A phone of ours that was dialled for a call (the caller's own leg is the call itself)."""

    id: LegId
    target: str
    state: LegState
    since: float
    trunk: str = ""
    """"" for a phone of ours."""


@dataclass(slots=True)
class LiveCall:
    id: CallId
    sip_call_id: str
    caller: str
    caller_name: str
    dialled: str
    source: str
    trunk: str
    arrived_at: float
    state: CallState
    since: float
    """When it came into `state`."""
    answered_at: float | None = None
    flow: str = ""
    node: str = ""
    queue: QueueName | None = None
    """Waits in it, or talks to an agent through it; "" when a colleague brought the two together."""
    queued_at: float | None = None
    position: int = 0
    agent: AgentName | None = None
    """Rings or talks."""
    offer: OfferId | None = None
    """The one that rings or was answered."""
    onward: tuple[AgentName, OfferId] | None = None
    """Another agent who is rung for the caller while `agent` has him, or had him last."""
    joined: dict[AgentName, float] = field(default_factory=dict)
    """Who talks with caller and `agent` -> since when."""
    talked: float = 0.0
    """In talks with agents that are over."""
    held: bool = False
    hung_up: bool = False
    """Its own leg has ended; what is left is tidying up."""
    recording: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    legs: dict[LegId, LiveLeg] = field(default_factory=dict)

    def move(self, state: CallState, at: float) -> None:
        """On to this state, unless it is in it already."""
        if self.state is not state:
            self.state = state
            self.since = at


@dataclass(slots=True)
class LiveQueue:
    waiting: dict[CallId, float] = field(default_factory=dict)
    """Call -> time of entry, ringing calls included; in order of entry."""
    offered: int = 0
    """Offered = answered + abandoned + the sum of flowed_out + len(waiting)."""
    answered: int = 0
    abandoned: int = 0
    flowed_out: Counter[str] = field(default_factory=Counter)

    def longest_wait(self, now: float) -> float:
        return max(0.0, now - min(self.waiting.values())) if self.waiting else 0.0


@dataclass(slots=True)
class LiveAgent:
    state: AgentState
    since: float
    reason: str = ""
    call: CallId | None = None


@dataclass(slots=True)
class LivePhone:
    source: str
    user_agent: str
    registered_at: float
    expires: float
    """As told by the last (re-)registration: seconds or UTC time, as the event has it."""


@dataclass(slots=True)
class LiveProcess:
    pid: int
    up: bool
    since: float
    starts: int = 0
    status: str = ""
    """Of its last exit."""


@dataclass(slots=True)
class SipTotals:
    requests: Counter[str] = field(default_factory=Counter)
    responses_sent: Counter[str] = field(default_factory=Counter)
    responses_received: Counter[str] = field(default_factory=Counter)
    retransmissions_sent: int = 0
    retransmissions_received: int = 0
    malformed: int = 0
    dropped: int = 0


@dataclass(slots=True)
class RtpTotals:
    """Sums over the legs that have ended."""

    legs: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    packets_lost: int = 0
    remote_lost: int = 0
    strangers: int = 0
    timeouts: int = 0


@dataclass(slots=True)
class RecordingTotals:
    started: int = 0
    stopped: int = 0
    seconds: float = 0.0
    lost_frames: int = 0


@dataclass(slots=True)
class TrunkCalls:
    """In progress now."""

    incoming: int = 0
    outgoing: int = 0


@dataclass(slots=True)
class LiveTrunk:
    """A trunk that calls can go out by. Times are UTC seconds."""

    targets: tuple[str, ...]
    registers: bool
    down_since: float | None = None
    """None: it is up."""
    targets_down: dict[str, float] = field(default_factory=dict)
    """Target -> since when."""
    registered: bool = False
    fault: "Incident | None" = None
    """The latest, mended or not."""


@dataclass(slots=True)
class Incident:
    """A fault."""

    since: float
    what: str
