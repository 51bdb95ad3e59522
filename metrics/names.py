"""Every metric of Callwright: name, kind, help, labels, buckets. docs/metrics.md, the dashboard and the alerts may use
these and no others (tests/unit/metrics/test_documents.py).

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters. Label values come from
the configuration (queues, processes), from closed enumerations, or from a short list with `other` for the rest; none
comes from a caller. All is a fold of the event log, so a restart of the web process sets no counter back.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, ascending, without +Inf."""


WAIT_BUCKETS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0)
"""Patience: service levels are asked at 10, 15, 20, 30, 60 … s."""
CALL_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 480.0, 600.0, 900.0, 1800.0, 3600.0)
"""Talks and whole calls: minutes."""
RING_BUCKETS = (1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0)
ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Machine answers: milliseconds to seconds."""
LOSS_BUCKETS = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25)
"""Share of packets: 1 % is heard, 5 % is bad."""
JITTER_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)
"""Seconds; a packet is 20 ms."""
MOS_BUCKETS = (1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.2, 4.34)
"""Steps of G.107 Annex B: below 3.1 nearly all are dissatisfied, below 3.6 many, below 4.03 some; from 4.34 none."""
ROUND_TRIP_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

# --- calls
CALLS = Metric("callwright_calls", _G, "Calls now, by state.", ("state",))
CALLS_ARRIVED = Metric(
    "callwright_calls_arrived_total", _C, "Calls that arrived, by origin: trunk or phone.", ("origin",)
)
CALLS_ENDED = Metric(
    "callwright_calls_ended_total", _C, "Calls that ended, by outcome; outcomes are disjoint.", ("outcome",)
)
CALLS_REFUSED = Metric(
    "callwright_invites_refused_total", _C, "INVITEs that became no call, by final SIP status.", ("status",)
)
CALL_SECONDS = Metric("callwright_call_duration_seconds", _H, "From arrival to end.", ("outcome",), CALL_BUCKETS)
ANSWER_SECONDS = Metric("callwright_call_answer_seconds", _H, "From arrival to our 200 OK.", (), ANSWER_BUCKETS)
LEGS_DIALLED = Metric("callwright_legs_dialled_total", _C, "Legs that we dialled, to phones and through trunks.")
LEGS_ENDED = Metric("callwright_legs_ended_total", _C, "Legs that ended, by who ended them.", ("ended_by",))
DIGITS = Metric("callwright_digits_total", _C, "Keys pressed, by the way they came: rfc4733, info or inband.", ("via",))

# --- flows
FLOWS_LEFT = Metric("callwright_flows_left_total", _C, "Runs of a flow that ended, by why.", ("flow", "why"))
FLOW_ERRORS = Metric("callwright_flow_errors_total", _C, "Runs of a flow that failed by our fault.", ("flow",))
INPUT_MISSED = Metric("callwright_input_missed_total", _C, "Keys that did not come or did not fit.", ("why",))

# --- queues
QUEUE_CALLS = Metric("callwright_queue_calls", _G, "Calls waiting now, offered ones included.", ("queue",))
QUEUE_OLDEST = Metric(
    "callwright_queue_oldest_wait_seconds", _G, "How long the longest waiting call has waited.", ("queue",)
)
QUEUE_ENTERED = Metric("callwright_queue_entered_total", _C, "Calls that entered a queue.", ("queue",))
QUEUE_LEFT = Metric(
    "callwright_queue_left_total",
    _C,
    "Calls that left a queue: answered, abandoned, or why they flowed out.",
    ("queue", "outcome"),
)
QUEUE_WAIT = Metric(
    "callwright_queue_wait_seconds",
    _H,
    "Time in the queue, ringing included, by how it ended.",
    ("queue", "outcome"),
    WAIT_BUCKETS,
)
QUEUE_TALK = Metric(
    "callwright_queue_talk_seconds",
    _H,
    "Talk of an agent, hold included; without a queue: passed on by a colleague, or with one.",
    ("queue",),
    CALL_BUCKETS,
)
QUEUE_HOLD = Metric("callwright_queue_hold_seconds_total", _C, "Part of the talk that was on hold.", ("queue",))
TRANSFERS = Metric(
    "callwright_transfers_total", _C, "Transfers that agents asked for, by outcome.", ("kind", "to_kind", "result")
)
CONFERENCES = Metric("callwright_conferences_total", _C, "Talks that an agent joined as a third.")
OFFERS = Metric("callwright_offers_total", _C, "Offers to agents, by what became of them.", ("queue", "result"))
OFFER_RING = Metric("callwright_offer_ring_seconds", _H, "How long an agent's phone rang.", ("queue",), RING_BUCKETS)

# --- agents and phones
AGENTS = Metric("callwright_agents", _G, "Agents now, by state.", ("state",))
AGENT_SECONDS = Metric("callwright_agent_state_seconds_total", _C, "Agent time in completed states.", ("state",))
PHONES = Metric("callwright_phones_registered", _G, "Registered phones (bindings).")
AUTH_FAILURES = Metric(
    "callwright_sip_authentication_failures_total", _C, "Wrong passwords and unknown users.", ("method",)
)

# --- trunks
TRUNK_UP = Metric("callwright_trunk_up", _G, "1 while calls can go out by it: a target is up.", ("trunk",))
TRUNK_TARGET_UP = Metric("callwright_trunk_target_up", _G, "1 while this target of it is up.", ("trunk", "target"))
TRUNK_REGISTERED = Metric(
    "callwright_trunk_registered", _G, "1 while the operator knows us; only trunks that register.", ("trunk",)
)
TRUNK_CALLS = Metric("callwright_trunk_calls", _G, "Calls now, in or out.", ("trunk", "direction"))
TRUNK_DOWN_SECONDS = Metric(
    "callwright_trunk_down_seconds_total", _C, "Time that it was down, told at the end.", ("trunk",)
)
TRUNK_REGISTRATION_FAILURES = Metric(
    "callwright_trunk_registration_failures_total", _C, "REGISTER attempts that failed.", ("trunk",)
)
TRUNK_REFUSED = Metric(
    "callwright_trunk_calls_refused_total",
    _C,
    "Calls that we did not send out: down, full, or the number not allowed.",
    ("trunk", "why"),
)
INCIDENTS_OPEN = Metric("callwright_incidents_open", _G, "Faults that last, by kind.", ("kind",))

# --- SIP
SIP_REQUESTS = Metric("callwright_sip_requests_received_total", _C, "Requests received, by method.", ("method",))
SIP_SENT = Metric(
    "callwright_sip_responses_sent_total", _C, "Responses sent, by method and status.", ("method", "status")
)
SIP_RECEIVED = Metric(
    "callwright_sip_responses_received_total", _C, "Responses received, by method and status.", ("method", "status")
)
SIP_RETRANSMISSIONS = Metric(
    "callwright_sip_retransmissions_total", _C, "Messages sent or received again.", ("direction",)
)
SIP_MALFORMED = Metric("callwright_sip_malformed_total", _C, "Messages that did not parse.")
SIP_DROPPED = Metric("callwright_sip_dropped_total", _C, "Messages dropped without an answer.")

# --- defence and overload
KEPT_OUT = Metric("callwright_defence_dropped_total", _C, "Messages dropped by the defence, by why.", ("why",))
SOURCES_BLOCKED = Metric("callwright_defence_blocks_total", _C, "Blocks of a source that began, by why.", ("why",))
CALLS_SHED = Metric("callwright_calls_shed_total", _C, "INVITEs refused with 503 because of overload.", ("origin",))
OVERLOADS = Metric("callwright_overloads_total", _C, "Times that overload began, by its cause.", ("cause",))
PRESSURE = Metric(
    "callwright_pressure_ratio", _G, "Highest load over its limit in the last report; from 1 on calls may be refused."
)

# --- media
RTP_PACKETS = Metric("callwright_rtp_leg_packets_total", _C, "RTP packets of ended legs.", ("direction",))
RTP_LOST = Metric("callwright_rtp_leg_packets_lost_total", _C, "RTP packets that never reached us, of ended legs.")
RTP_LOSS = Metric(
    "callwright_rtp_loss_ratio", _H, "Share of packets lost, one observation a leg.", ("codec",), LOSS_BUCKETS
)
RTP_JITTER = Metric(
    "callwright_rtp_jitter_seconds", _H, "Highest interarrival jitter (RFC 3550) of a leg.", ("codec",), JITTER_BUCKETS
)
CALL_MOS = Metric(
    "callwright_call_mos",
    _H,
    "How a leg sounded, by the E-model (ITU-T G.107): 1 to 4.5; heard by us, or by the peer as it reported.",
    ("heard_by", "leg"),
    MOS_BUCKETS,
)
ROUND_TRIP = Metric(
    "callwright_rtp_round_trip_seconds",
    _H,
    "To a leg's peer and back, by RTCP (RFC 3550); legs whose peer answers no reports are not in it.",
    (),
    ROUND_TRIP_BUCKETS,
)
RTP_TIMEOUTS = Metric("callwright_rtp_timeouts_total", _C, "Legs whose audio stopped coming.")
MEDIA_PACKETS = Metric(
    "callwright_media_packets_total", _C, "RTP packets through a media process.", ("media", "direction")
)
MEDIA_DROPPED = Metric(
    "callwright_media_packets_dropped_total", _C, "Packets a media process could not pass on.", ("media",)
)
MEDIA_STRANGERS = Metric(
    "callwright_media_stranger_packets_total", _C, "Packets from an address or source not ours.", ("media",)
)
MEDIA_STUN = Metric("callwright_media_stun_packets_total", _C, "STUN messages at RTP ports (RFC 5389).", ("media",))
MEDIA_PORTS = Metric("callwright_media_ports", _G, "Open media ports, by what they do.", ("media", "state"))
MEDIA_OVERRUNS = Metric(
    "callwright_media_overruns_total", _C, "Full rings: recording or event lost.", ("media", "ring")
)
MEDIA_LATE = Metric(
    "callwright_media_tick_late_seconds", _G, "Worst lateness of the 1 ms tick in the last report.", ("media",)
)
MEDIA_CPU = Metric("callwright_media_cpu_seconds_total", _C, "Processor time of a media process.", ("media",))
RECORDINGS = Metric("callwright_recordings_total", _C, "Recordings finished.")
RECORDED_SECONDS = Metric("callwright_recorded_seconds_total", _C, "Length of the recordings finished.")
RECORDING_LOST = Metric("callwright_recording_lost_frames_total", _C, "20 ms frames that could not be written.")

RECORDINGS_FAILED = Metric("callwright_recordings_failed_total", _C, "Recordings that the disk did not take whole.")
RECORDING_REFUSED = Metric(
    "callwright_recording_refused_seconds_total", _C, "Audio that the disk of recordings did not take.", ("media",)
)

# --- processes and journal
JOURNAL_EVENTS = Metric("callwright_journal_events_total", _C, "Events in the journal (the last seq read).")
JOURNAL_LAST = Metric("callwright_journal_last_event_timestamp_seconds", _G, "Time of the last event read.")
JOURNAL_BYTES = Metric("callwright_journal_bytes", _G, "Size of the journal at control's last report.")
JOURNAL_UNSYNCED = Metric(
    "callwright_journal_unsynced_seconds", _G, "Longest time from write to fsync in the last report."
)
JOURNAL_WAITING = Metric(
    "callwright_journal_waiting_bytes",
    _G,
    "Events that wait in memory for a full disk; asked of control at each scrape, since the log cannot tell.",
)
JOURNAL_WAITED = Metric(
    "callwright_journal_waited_seconds_total", _C, "Time in which the disk took no events, told when it was over."
)
JOURNAL_LOST = Metric(
    "callwright_journal_lost_events_total", _C, "Events that found room neither on the disk nor in memory."
)
DISK_FREE = Metric(
    "callwright_disk_free_bytes", _G, "Room on the disk of journal or recordings at control's last look.", ("folder",)
)
CONTROL_LAG = Metric("callwright_control_loop_lag_seconds", _G, "Lateness of the control process's event loop.")
CONTROL_CPU = Metric("callwright_control_cpu_seconds_total", _C, "Processor time of the control process.")
CONTROL_MEMORY = Metric("callwright_control_memory_bytes", _G, "Memory of the control process.")
CONTROL_TASKS = Metric("callwright_control_tasks", _G, "Tasks of the control process's event loop.")
CONTROL_STARTS = Metric(
    "callwright_control_starts_total", _C, "Starts of the control process that reached its journal."
)
CONTROL_INFO = Metric("callwright_control_info", _G, "Always 1; the version that runs.", ("version",))
PROCESS_STARTS = Metric("callwright_process_starts_total", _C, "Starts by the supervisor.", ("process",))
PROCESS_EXITS = Metric(
    "callwright_process_exits_total", _C, "Ends that nobody asked for: exit or signal.", ("process", "how")
)
PROCESS_RUNNING = Metric("callwright_process_running", _G, "1 while the process runs.", ("process",))
DRAINING = Metric(
    "callwright_draining",
    _G,
    "1 while the process takes no new calls and ends with its last: control, which is the hotline, or a media process.",
    ("process",),
)
EVENTS_UNKNOWN = Metric("callwright_events_unknown_total", _C, "Events of a newer version, not counted elsewhere.")

ALL: tuple[Metric, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
