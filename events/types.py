"""Every fact that Callwright keeps, as one frozen type each, named in the past tense.

An event holds only what happened. Its place in the log (`seq`) and its time (`at`) belong to the record around it
(`Recorded`), given by the journal. Durations are seconds. Enumerations are closed: metrics use them as labels.
"""

from enum import StrEnum
from typing import ClassVar

import msgspec

from kernel.ids import AgentName, CallId, LegId, OfferId, QueueName


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", omit_defaults=False):
    """Base of all events. `VERSION` rises when a stored field changes meaning; codec.py upcasts older ones."""

    VERSION: ClassVar[int] = 1


class Recorded(msgspec.Struct, frozen=True):
    """One line of the journal."""

    seq: int
    """1, 2, 3 … without a gap over the whole life of the journal."""
    at: float
    """UTC seconds since 1970; never smaller than that of the record before."""
    event: Event


class EndedBy(StrEnum):
    CALLER = "caller"
    AGENT = "agent"
    SYSTEM = "system"


class CallOutcome(StrEnum):
    """How a call ended, as its caller would put it. Disjoint; the sum over all is the number of calls."""

    SERVED = "served"
    """Talked to an agent."""
    SELF_SERVED = "self_served"
    """The flow came to its own end."""
    ABANDONED_IVR = "abandoned_ivr"
    """The caller hung up in the flow, before any queue."""
    ABANDONED_QUEUE = "abandoned_queue"
    """The caller hung up while queued or ringing an agent."""
    CANCELLED = "cancelled"
    """The caller gave up before we answered."""
    REFUSED = "refused"
    """Answered with an error status: unknown number, no common codec, overload."""
    FEATURE_CODE = "feature_code"
    """One of our own phones dialled a code (`*13`): no caller at all."""
    CONSULT = "consult"
    """One of our own phones called a colleague or a queue: no caller from outside."""
    FAILED = "failed"
    """Our fault or the network's: media time-out, flow error, missing ACK, restart."""


class OfferResult(StrEnum):
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class Withdrawal(StrEnum):
    """Why an agent's phone is no longer rung."""

    CALLER_GONE = "caller_gone"
    PICKED_UP = "picked_up"
    """Another agent took the call from his own phone."""
    TAKEN_BACK = "taken_back"
    """By the agent who wanted to transfer it."""
    ANSWERED = "answered"
    """Where it rang first; this agent wanted to pick it up."""
    RESTART = "restart"
    """The control process that rang died."""


class QueueExit(StrEnum):
    """Outcomes of a stay in a queue other than answered and abandoned."""

    TIMEOUT = "timeout"
    FULL = "full"
    NO_AGENTS = "no_agents"
    KEY = "key"
    LOST = "lost"
    """System-lost: our fault."""


class ConnectedVia(StrEnum):
    """How a call came to an agent."""

    QUEUE = "queue"
    TRANSFER = "transfer"
    """Another agent passed it on; no queue chose this agent, and `queue` is ""."""
    CONSULT = "consult"
    """A colleague's phone called; `queue` is ""."""


class TransferKind(StrEnum):
    BLIND = "blind"
    ATTENDED = "attended"
    """After a talk with whoever takes the call."""


class TransferTarget(StrEnum):
    AGENT = "agent"
    QUEUE = "queue"
    FLOW = "flow"


class TransferResult(StrEnum):
    """The words of OfferResult when the one called did not take it."""

    COMPLETED = "completed"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """A queue that is full, or has nobody to work for it."""
    RETURNED = "returned"
    """The agent took the caller back."""
    ABANDONED = "abandoned"
    """The caller hung up meanwhile."""
    FAILED = "failed"


class AgentState(StrEnum):
    LOGGED_OUT = "logged_out"
    NOT_READY = "not_ready"
    READY = "ready"
    OFFERED = "offered"
    ON_CALL = "on_call"
    WRAP_UP = "wrap_up"


# --- calls and legs -------------------------------------------------------------------------------------------


class CallArrived(Event, frozen=True):
    """An INVITE from a trusted trunk or an authenticated phone became a call."""

    call: CallId
    sip_call_id: str
    caller: str
    """Number or user part; "" when withheld."""
    caller_name: str
    dialled: str
    source: str
    """`udp:192.0.2.1:5060`"""
    trunk: str
    """Name of the trunk, or "" for one of our own phones."""


class CallAnswered(Event, frozen=True):
    call: CallId
    waited: float
    codec: str


class CallEnded(Event, frozen=True):
    """Terminal: exactly one for every CallArrived."""

    call: CallId
    outcome: CallOutcome
    ended_by: EndedBy
    sip_status: int
    """Final status of the caller's INVITE: 200 for an answered call."""
    reason: str
    """One word or phrase for people: `bye`, `rtp_timeout`, `flow_error` …"""
    duration: float
    """From CallArrived."""
    talked: float
    """With agents, hold included."""


class CallRefused(Event, frozen=True):
    """An INVITE from a trusted source that became no call (no CallArrived)."""

    sip_call_id: str
    caller: str
    dialled: str
    source: str
    trunk: str
    sip_status: int
    reason: str


class LegDialled(Event, frozen=True):
    """We sent an INVITE for this call."""

    call: CallId
    leg: LegId
    target: str
    ring_for: float
    trunk: str = ""
    """"" for a phone of ours."""
    sip_call_id: str = ""
    """Of our INVITE; "" in logs from before it was kept."""


class LegRinging(Event, frozen=True):
    call: CallId
    leg: LegId
    sip_status: int


class LegEarlyMedia(Event, frozen=True):
    """Sound before the answer: from one that we dial (its ring-back tone, an announcement), once a leg; or, with the
    caller's leg, from us to him. It is no answer."""

    call: CallId
    leg: LegId
    sip_status: int
    codec: str


class LegAnswered(Event, frozen=True):
    call: CallId
    leg: LegId
    codec: str
    rang: float


class LegEnded(Event, frozen=True):
    """Terminal: exactly one for every LegDialled, and one for the caller's leg of every CallArrived."""

    call: CallId
    leg: LegId
    sip_status: int
    ended_by: EndedBy
    reason: str
    talked: float


class CallBridged(Event, frozen=True):
    """Two-way audio between the caller and this leg from now."""

    call: CallId
    leg: LegId


class CallUnbridged(Event, frozen=True):
    call: CallId
    leg: LegId
    talked: float
    held: float
    """Seconds of `talked` that either side had the other on hold."""
    ended_by: EndedBy


class CallHeld(Event, frozen=True):
    call: CallId
    leg: LegId
    """The leg that asked for hold."""


class CallResumed(Event, frozen=True):
    call: CallId
    leg: LegId
    held: float


class DigitPressed(Event, frozen=True):
    call: CallId
    leg: LegId
    digit: str
    via: str
    """rfc4733 | info | inband"""


class RecordingStarted(Event, frozen=True):
    call: CallId
    path: str
    """Relative to the recordings folder, `/` separated."""


class RecordingStopped(Event, frozen=True):
    call: CallId
    path: str
    seconds: float
    lost_frames: int
    """20 ms frames that could not be written."""
    repaired: bool = False
    """Its media process died: the file has what was written until then; another has the rest of the talk."""


class RecordingFailed(Event, frozen=True):
    """The disk took no (more) of a recording; the talk goes on. Told when the file could not be made, else at the
    recording's end; RecordingStopped follows."""

    call: CallId
    path: str
    why: str
    seconds: float
    """In the file, which can be played."""
    refused: float
    """Seconds that it lacks; -1: there is no file, the whole talk is missing."""


class LegMediaReported(Event, frozen=True):
    """Once for each leg that had media, at its end. What a media process counted that died is lost."""

    call: CallId
    leg: LegId
    codec: str
    packets_received: int
    packets_sent: int
    packets_lost: int
    """By sequence number (RFC 3550 §A.3); can be negative with duplicates."""
    jitter_ms: float
    """RFC 3550 §6.4.1 at the end."""
    jitter_max_ms: float
    strangers: int
    """Packets dropped because they came from another address or SSRC."""
    remote_lost: int
    """What the peer's last RTCP report said of our packets; -1 when it sent none."""
    srtp: str = ""
    """Suite, such as AES_CM_128_HMAC_SHA1_80; empty for plain RTP."""
    unauthenticated: int = 0
    """SRTP packets dropped because their tag was not authentic, or because they had come before."""
    remote_jitter_ms: float = -1.0
    """Likewise, at the peer; -1 when it sent none."""
    round_trip_ms: float = -1.0
    """To the peer and back, by RTCP (RFC 3550 §6.4.1); -1 when it could not be measured."""
    mos: float = 0.0
    """What we heard, by the E-model (engine/rtp/emodel.py): 1 … 4.5; 0 when nothing was heard."""
    remote_mos: float = 0.0
    """What the peer heard of us, by its last report; 0 when it sent none."""
    kind: str = ""
    """Who is at the far end: caller | phone (one of ours, that we rang) | telephone (through a trunk)."""
    stun: int = 0
    """STUN messages (RFC 5389) that came to its ports: neither audio nor strangers. They are not answered."""


class LegMediaMoved(Event, frozen=True):
    """The audio of a leg goes through another port: its media process died, or it is to talk to a leg of another one.
    Its peer has agreed (re-INVITE); one that cannot be moved ends with reason `media_lost`."""

    call: CallId
    leg: LegId
    before: str
    """Media process that it was at."""
    media: str
    gap: float
    """From the loss of the port before to the peer's agreement, or to its answer when it still rang; 0 when that port
    was there until then."""


class RtpTimedOut(Event, frozen=True):
    call: CallId
    leg: LegId
    silent_for: float


# --- phones ---------------------------------------------------------------------------------------------------


class PhoneRegistered(Event, frozen=True):
    """A new binding (a refresh of an existing one is not an event; its expiry is kept by PhoneRefreshed)."""

    aor: str
    contact: str
    expires: float
    source: str
    user_agent: str


class PhoneRefreshed(Event, frozen=True):
    """An existing binding got a later expiry."""

    aor: str
    contact: str
    expires: float


class PhoneUnregistered(Event, frozen=True):
    aor: str
    contact: str
    why: str
    """removed | expired | replaced | disconnected"""


class AuthenticationFailed(Event, frozen=True):
    """A wrong password or unknown user; one a second per source at most, `count` tells how many."""

    source: str
    method: str
    count: int


# --- flows ----------------------------------------------------------------------------------------------------


class FlowEntered(Event, frozen=True):
    call: CallId
    flow: str
    version: str
    """Hash of the flow's source."""


class NodeEntered(Event, frozen=True):
    call: CallId
    flow: str
    node: str
    verb: str


class NodeLeft(Event, frozen=True):
    """`edge` is why: a digit, `next`, `timeout`, `invalid`, `open`, `closed` …; `to` the next node or ""."""

    call: CallId
    flow: str
    node: str
    edge: str
    to: str
    dwell: float


class PromptPlayed(Event, frozen=True):
    call: CallId
    node: str
    prompt: str
    seconds: float
    completed: bool
    """False when a key or a hang-up cut it short."""


class InputMissed(Event, frozen=True):
    call: CallId
    node: str
    why: str
    """timeout | invalid"""
    digits: str
    attempt: int


class AttributeSet(Event, frozen=True):
    call: CallId
    name: str
    value: str


class FlowFailed(Event, frozen=True):
    call: CallId
    flow: str
    node: str
    error: str


class FlowLeft(Event, frozen=True):
    """Exactly one for every FlowEntered. `why`: finished | hung_up | failed | removed (control began anew, and the
    configuration has this flow or node no more)."""

    call: CallId
    flow: str
    node: str
    why: str


# --- queues and agents ----------------------------------------------------------------------------------------


class CallQueued(Event, frozen=True):
    call: CallId
    queue: QueueName
    skills: dict[str, int]
    """Required skill -> lowest level."""
    priority: int
    position: int


class PositionAnnounced(Event, frozen=True):
    call: CallId
    queue: QueueName
    position: int
    wait_estimate: float
    """Seconds as told to the caller; -1 when we don't know and said so by silence."""


class CallOffered(Event, frozen=True):
    call: CallId
    queue: QueueName
    agent: AgentName
    offer: OfferId
    ring_for: float
    waited: float


class OfferMissed(Event, frozen=True):
    """The agent did not take it. With NO_ANSWER this is RONA, and AgentStateChanged(not_ready, rona) follows."""

    call: CallId
    queue: QueueName
    agent: AgentName
    offer: OfferId
    result: OfferResult
    rang: float


class OfferWithdrawn(Event, frozen=True):
    """The agent's phone rang, and rings no more through no doing of his: the agent is what he was before."""

    call: CallId
    queue: QueueName
    agent: AgentName
    offer: OfferId
    rang: float
    why: Withdrawal = Withdrawal.CALLER_GONE


class CallConnected(Event, frozen=True):
    """The agent answered: the queue's outcome `answered`."""

    call: CallId
    queue: QueueName
    agent: AgentName
    offer: OfferId
    waited: float
    """t_con - t_q: what ASA sums, ring included."""
    rang: float
    via: ConnectedVia = ConnectedVia.QUEUE


class CallTransferred(Event, frozen=True):
    """An agent wanted the caller to be with somebody else: how that came out. When it is COMPLETED by an agent,
    CallReleased of the first and CallConnected of the second follow at once; when not, the first goes on."""

    call: CallId
    agent: AgentName
    """Who asked for it."""
    kind: TransferKind
    to_kind: TransferTarget
    to: str
    """Name of the agent or queue, number of the flow."""
    result: TransferResult
    took: float
    """Seconds since it was asked for: music, for the caller, or a conference (AgentJoined)."""


class AgentConsulted(Event, frozen=True):
    """While the caller heard music, two agents talked, the second dialled by us for the first (a phone that dials by
    itself makes a call of its own, outcome `consult`)."""

    call: CallId
    agent: AgentName
    with_agent: AgentName
    talked: float


class AgentJoined(Event, frozen=True):
    """A third one hears, and is heard by, the caller and the agent who has him (CallConnected): a conference."""

    call: CallId
    agent: AgentName
    by: AgentName
    """Who brought him in."""


class AgentLeft(Event, frozen=True):
    """Exactly one for every AgentJoined: he is gone, or the others are; should he have the caller alone now,
    CallConnected tells of it."""

    call: CallId
    agent: AgentName
    talked: float
    """Of all three. The talk of the agent who has the caller, by CallReleased, has these seconds too."""
    ended_by: EndedBy


class CallAbandoned(Event, frozen=True):
    call: CallId
    queue: QueueName
    waited: float
    position: int


class CallFlowedOut(Event, frozen=True):
    call: CallId
    queue: QueueName
    why: QueueExit
    waited: float


class CallReleased(Event, frozen=True):
    """The talk between agent and caller is over."""

    call: CallId
    queue: QueueName
    agent: AgentName
    talked: float
    """All of this agent's talk in this call, hold included; consultations and other agents' parts are not in it."""
    held: float
    ended_by: EndedBy
    via: ConnectedVia = ConnectedVia.QUEUE


class AgentStateChanged(Event, frozen=True):
    agent: AgentName
    state: AgentState
    previous: AgentState
    reason: str
    """Not-ready reason (`lunch`, `rona` …), else ""."""
    via: str
    """What caused it: phone | cli | api | acd"""
    call: CallId | None
    lasted: float
    """Seconds in `previous`."""


# --- health ---------------------------------------------------------------------------------------------------


class ControlStarted(Event, frozen=True):
    version: str
    config: str
    """Hash of the whole configuration."""
    recovered_calls: int


class ControlStopped(Event, frozen=True):
    reason: str


class ProcessStarted(Event, frozen=True):
    process: str
    pid: int


class ProcessExited(Event, frozen=True):
    process: str
    pid: int
    status: str
    """`exit 1`, `signal 9`"""
    up_for: float
    ordered: bool = False
    """Its place was to be taken by newer code: no fault."""


class ProcessAdopted(Event, frozen=True):
    """It lived on when its supervisor died; another one has it now."""

    process: str
    pid: int


class UpgradeEnded(Event, frozen=True):
    """The running code was replaced, process by process."""

    ok: bool
    why: str
    """What went wrong; "" when nothing did."""
    lasted: float


class ProcessStalled(Event, frozen=True):
    """Its event loop gave no sign of life; it is killed and started again."""

    process: str
    pid: int
    silent_for: float


class ProcessOutgrew(Event, frozen=True):
    """It took more memory than it may (`memory` of the configuration); it is ended and started again."""

    process: str
    pid: int
    used_bytes: int
    limit_bytes: int


class DrainBegan(Event, frozen=True):
    """New calls are refused from now on; those in progress go on."""

    calls: int
    """In progress."""
    within: float
    """Seconds after which those that are left are ended."""


class DrainEnded(Event, frozen=True):
    """Draining is over; the end of the process begins, unless it was given up."""

    ended: int
    """Calls that had to be ended."""
    lasted: float
    given_up: bool = False
    """New calls are taken again: a process without supervisor has found one."""


class SipReported(Event, frozen=True):
    """Counts since the last report, every few seconds while there is something to say."""

    requests: dict[str, int]
    """Method -> received."""
    responses_sent: dict[str, int]
    """`INVITE 486` -> sent."""
    responses_received: dict[str, int]
    retransmissions_sent: int
    retransmissions_received: int
    malformed: int
    dropped: int
    """Without an answer, by the defence (`kept_out` says why)."""
    kept_out: dict[str, int] = {}
    """Why -> messages dropped: blocked, rate, scanner, junk, method, domain, probe, locked; waiting: too many calls at
    once."""


class MediaReported(Event, frozen=True):
    """Health of one media process; counters since its start, gauges now."""

    media: str
    ports: int
    bridged: int
    recording: int
    playing: int
    packets_received: int
    packets_sent: int
    packets_dropped: int
    strangers: int
    recording_overruns: int
    event_overruns: int
    late_ms_max: float
    """Worst lateness of the 1 ms tick since the last report."""
    cpu_seconds: float
    recording_refused: float = 0.0
    """Seconds of recordings that the disk did not take."""
    stun: int = 0
    """STUN messages (RFC 5389) that came to RTP and RTCP ports."""
    draining: bool = False
    """It gets no new calls, since an upgrade, and ends with its last."""


class ControlReported(Event, frozen=True):
    """Health of the control process, every few seconds."""

    calls: int
    loop_lag_ms: float
    journal_bytes: int
    unsynced_ms_max: float
    """Longest time between a write and its fsync since the last report."""
    cpu_seconds: float
    memory_bytes: int
    pressure: float = 0.0
    """Highest load over its limit since the last report: from 1 on new calls may be refused."""
    tasks: int = -1
    """Of the event loop: a few of its own and those of the calls; -1 in logs from before they were counted."""
    journal_free_bytes: int = -1
    """Room on the disk of the journal; -1: not known (yet)."""
    recordings_free_bytes: int = -1


# --- trunks -----------------------------------------------------------------------------------------------------


class TrunkStarted(Event, frozen=True):
    """At each start of control, for each trunk that calls can go out by: what there is to be watched from now."""

    trunk: str
    targets: list[str]
    """`udp:192.0.2.1:5060`"""
    registers: bool


class TrunkRemoved(Event, frozen=True):
    """The log has a trunk that the configuration has no more."""

    trunk: str


class TrunkTargetDown(Event, frozen=True):
    """So many tries in a row failed; opens an incident. Calls go to the other targets."""

    trunk: str
    target: str
    why: str


class TrunkTargetUp(Event, frozen=True):
    """Closes it."""

    trunk: str
    target: str
    down_for: float


class TrunkTargetUnresolved(Event, frozen=True):
    """DNS does not say where a target is; opens an incident. Calls go to the places that are known from before."""

    trunk: str
    target: str
    why: str
    kept: list[str]
    """Those places: transport, address and port."""


class TrunkTargetResolved(Event, frozen=True):
    """DNS says where a target is: for the first time since we started, or again. Closes the incident."""

    trunk: str
    target: str
    places: list[str]
    failed_for: float


class TrunkDown(Event, frozen=True):
    """None of its targets is up: no call can go out. Opens an incident."""

    trunk: str
    why: str


class TrunkUp(Event, frozen=True):
    trunk: str
    down_for: float


class TrunkRegistered(Event, frozen=True):
    """The operator knows where to reach us: for the first time, or again (a refresh is no event)."""

    trunk: str
    registrar: str
    expires: float
    failed_for: float
    """Since the first failure before it; 0 when there was none. Closes that incident."""


class TrunkRegistrationFailed(Event, frozen=True):
    """The first in a row opens an incident."""

    trunk: str
    registrar: str
    sip_status: int
    """0: no answer."""
    why: str
    failures: int
    """In a row."""
    retry_in: float


class TrunkUnregistered(Event, frozen=True):
    """By our own wish, at an orderly stop."""

    trunk: str


class TrunkCallRefused(Event, frozen=True):
    """A call of ours that no target was asked for: the trunk was down or full, or its rules refuse the number."""

    call: CallId
    trunk: str
    number: str
    why: str


# --- defence and overload ---------------------------------------------------------------------------------------


class SourceBlocked(Event, frozen=True):
    """Nothing that needs a password is taken from this source for a while; a stranger is not heard at all. Phones that
    proved their password from there before, and trunks' calls, go on."""

    source: str
    """Address, or `udp:192.0.2.1:5060` when it is one phone's own flow."""
    user: str
    """Only for this user name (as claimed, at most 64 characters); "" for all."""
    why: str
    """password | flood | scanner | junk | probe"""
    seconds: float
    times: int
    """1 for the first block in a row, each lasts twice as long as the one before."""
    unreported: int
    """Blocks since the last SourceBlocked that were too many to be told one by one."""


class SourceUnblocked(Event, frozen=True):
    """A block is over; told for those only whose beginning was told."""

    source: str
    user: str
    why: str
    """expired | released (by an operator)"""
    dropped: int
    """Messages that it kept away."""


class OverloadBegan(Event, frozen=True):
    """New calls are refused with 503 and Retry-After as far as needed; calls in progress and phones go on."""

    cause: str
    """busy | lag | transactions | journal | media | memory (the disk is full, and so is our memory for events)"""
    pressure: float
    """Load over its limit: 1 is full."""


class OverloadEnded(Event, frozen=True):
    lasted: float
    shed: int


class CallsShed(Event, frozen=True):
    """INVITEs of one trunk (or of phones) refused with 503 because of overload; no other event tells of them. Once a
    second at most."""

    trunk: str
    """"" for our own phones."""
    count: int
    rate: float
    """New calls a second that were let through at that time."""


# --- storage ----------------------------------------------------------------------------------------------------


class JournalWaited(Event, frozen=True):
    """The disk took no events for a while. They waited in memory, in order, and are in the log before this one; calls
    went on meanwhile. Had control died in that time, they would be gone."""

    since: float
    """UTC seconds."""
    lasted: float
    lost: int
    """Events that found no room in memory either: they are in no log, and totals lack them."""
    why: str


class DiskLow(Event, frozen=True):
    """A folder that we write to has little room left; opens an incident. Nothing fails yet."""

    folder: str
    """journal | recordings"""
    free_bytes: int
    total_bytes: int
    limit_bytes: int
    """`disk.low_mb` of the configuration."""


class DiskEnough(Event, frozen=True):
    """Closes it."""

    folder: str
    free_bytes: int
    low_for: float


class JournalTrimmed(Event, frozen=True):
    """The oldest events were removed (`journal.keep_days`, `keep_mb`). Tables keep theirs."""

    first_seq: int
    """The oldest that is left; `callwright rebuild` can go back to it."""
    segments: int
    removed_bytes: int


class RecordingsRemoved(Event, frozen=True):
    """Recordings older than `recordings.keep_days`."""

    count: int
    removed_bytes: int
    keep_days: float
