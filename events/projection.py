"""The log as rows: a pure fold that says, for each record, which row of which table gets which values.

A write is an upsert by primary key, so applying a batch twice, or in other portions, gives equal tables. The only
state is `Open`: the intervals that have begun and not ended. It is found again in the tables themselves (see
store.py), so the ledger may stop between any two records.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from events.codec import Unknown, event_type, fields
from events.types import Event, Recorded

Values = dict[str, Any]
MAX_TEXT = 600
"""Characters of a text in a column of its own; `events.body` has all of it. PostgreSQL indexes at most 2 704 bytes,
and a caller's name is as long as its sender likes."""
_INT64 = 2**63 - 1
_ODD_RE: Final = re.compile(rb"\\u0000|[0-9]{19}")
"""What some database may not take, in JSON."""
_encode: Final = msgspec.json.Encoder().encode


class Write(NamedTuple):
    table: str
    key: int | str | tuple[str, str]
    values: Values
    """Column -> value; columns not named keep what they have (NULL in a new row). `body` is JSON text already."""


@dataclass(slots=True)
class Open:
    """What has begun and not ended, by whom it concerns -> primary key of its row."""

    visits: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Call -> (queue visit, connected)."""
    steps: dict[str, int] = field(default_factory=dict)
    """Call -> flow step."""
    agents: dict[str, int] = field(default_factory=dict)
    phones: dict[tuple[str, str], int] = field(default_factory=dict)
    incidents: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """(kind, subject) of a fault that lasts -> (incident, since when)."""
    control_up: bool = False


@dataclass(slots=True)
class Projection:
    open: Open = field(default_factory=Open)

    def step(self, record: Recorded) -> list[Write]:
        """The rows that this record makes or changes, its own row in `events` first. Raises nothing."""
        kind = event_type(record.event)
        text, body = _body(record.event, kind)
        short = body
        if len(text) > MAX_TEXT:
            short = {name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in body.items()}
        names = {name: short[name] for name in ("call", "agent", "queue") if isinstance(short.get(name), str)}
        named = f"{kind}/{record.event.version}" if isinstance(record.event, Unknown) else kind
        row = {"at": record.at, "type": named, "call": None, "agent": None, "queue": None, "body": text, **names}
        steps = _STEPS.get(named)  # of an Unknown there is nothing to tell but that it was
        rest = steps(self.open, short, record.seq, record.at) if steps else []
        return [Write("events", record.seq, row), *rest]


def _body(event: Event, kind: str) -> tuple[str, Values]:
    """The event's fields, without its type, as every database takes them: as JSON text and as values."""
    if isinstance(event, Unknown):
        body = _storable(event.fields)
        return _encode(body).decode(), body
    raw, body = _encode(event), fields(event)
    if _ODD_RE.search(raw) is not None:
        body = _storable(body)
        return _encode(body).decode(), body
    rest = raw[len('{"type":"",') + len(kind) :]
    return "{" + (rest.decode() or "}"), body


def _storable(value: Any) -> Any:
    """As every database takes it: no NUL in text, integers of 64 bits."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_INT64, min(_INT64, value))
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _take(body: Values, *names: str, **more: Any) -> Values:
    return {name: body[name] for name in names} | more


# --- calls and legs -------------------------------------------------------------------------------------------


def _arrived(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    call = _take(b, "sip_call_id", "caller", "caller_name", "dialled", "source", "trunk", arrived_at=at)
    leg = {"call": b["call"], "direction": "in", "target": b["caller"], "dialled_at": at}
    return [Write("calls", b["call"], call), Write("legs", f"{b['call']}-1", leg)]


def _answered(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    leg = {"answered_at": at, "codec": b["codec"], "rang": b["waited"]}
    call = {"answered_at": at, "codec": b["codec"], "answered_after": b["waited"]}
    return [Write("calls", b["call"], call), Write("legs", f"{b['call']}-1", leg)]


def _ended(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    end = _take(b, "outcome", "ended_by", "sip_status", "reason", "duration", "talked", ended_at=at)
    return [Write("calls", b["call"], end), *_close_step(o, b["call"], at, "ended")]


def _attribute(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("call_attributes", (b["call"], b["name"]), _take(b, "value", set_at=at))]


def _leg_dialled(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("legs", b["leg"], _take(b, "call", "target", direction="out", dialled_at=at))]


def _leg_ringing(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("legs", b["leg"], _take(b, "call", ringing_at=at))]


def _leg_answered(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("legs", b["leg"], _take(b, "call", "codec", "rang", answered_at=at))]


def _leg_ended(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("legs", b["leg"], _take(b, "call", "sip_status", "ended_by", "reason", "talked", ended_at=at))]


_MEDIA = ("packets_received", "packets_sent", "packets_lost", "jitter_ms", "jitter_max_ms", "strangers", "remote_lost")
_QUALITY = ("kind", "srtp", "unauthenticated", "stun")


def _leg_media(_: Open, b: Values, _seq: int, _at: float) -> list[Write]:
    """What nobody measured is NULL: an average must not take it for a number."""
    lost = max(0, b["packets_lost"])
    expected = b["packets_received"] + lost
    measured = {name: b[name] if b[name] >= 0 else None for name in ("remote_jitter_ms", "round_trip_ms")}
    rated = {name: b[name] or None for name in ("mos", "remote_mos")}
    loss = lost / expected if expected else None
    return [Write("legs", b["leg"], _take(b, "call", *_MEDIA, *_QUALITY, loss=loss, **measured, **rated))]


def _recording_started(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("recordings", b["path"], _take(b, "call", started_at=at))]


def _recording_stopped(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("recordings", b["path"], _take(b, "call", "seconds", "lost_frames", stopped_at=at))]


# --- flows ----------------------------------------------------------------------------------------------------


def _close_step(o: Open, call: str, at: float, edge: str) -> list[Write]:
    """A step whose NodeLeft never came: the caller was gone."""
    step = o.steps.pop(call, None)
    return [] if step is None else [Write("flow_steps", step, {"left_at": at, "edge": edge})]


def _node_entered(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    before = _close_step(o, b["call"], at, "")
    o.steps[b["call"]] = seq
    return [*before, Write("flow_steps", seq, _take(b, "call", "flow", "node", "verb", entered_at=at))]


def _node_left(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    step = o.steps.pop(b["call"], None)
    values = _take(b, "edge", "dwell", left_at=at, left_to=b["to"])
    return [] if step is None else [Write("flow_steps", step, values)]


def _flow_left(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return _close_step(o, b["call"], at, b["why"])


# --- queues and agents ----------------------------------------------------------------------------------------


def _queued(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    before = o.visits.get(b["call"])
    o.visits[b["call"]] = (seq, False)
    writes = [Write("queue_visits", seq, _take(b, "call", "queue", "skills", "priority", "position", entered_at=at))]
    if before is not None:  # its end was never told
        values = {"released_at": at} if before[1] else {"left_at": at, "outcome": "lost"}
        writes.append(Write("queue_visits", before[0], values))
    return writes


def _visit_over(o: Open, b: Values, seq: int, at: float, outcome: str, **more: Any) -> list[Write]:
    """One who never got into the queue (full, closed) counts as a visit all the same, or offered would not add up."""
    values = _take(b, "call", "queue", "waited", left_at=at, outcome=outcome, **more)
    visit, connected = o.visits.pop(b["call"], (seq, False))
    writes = []
    if connected:  # an answered visit whose release was never told
        writes.append(Write("queue_visits", visit, {"released_at": at}))
        visit = seq
    if visit == seq:
        values["entered_at"] = at - b["waited"]
    if outcome == "answered":
        o.visits[b["call"]] = (visit, True)
    return [*writes, Write("queue_visits", visit, values)]


def _connected(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    offer = _take(b, "call", "queue", "agent", "rang", ended_at=at, result="answered")
    visit = _visit_over(o, b, seq, at, "answered", agent=b["agent"], offer=b["offer"], rang=b["rang"])
    return [*visit, Write("offers", b["offer"], offer)]


def _abandoned(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    return _visit_over(o, b, seq, at, "abandoned", left_position=b["position"])


def _flowed_out(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    return _visit_over(o, b, seq, at, b["why"])


def _released(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    visit, connected = o.visits.get(b["call"], (0, False))
    if not connected:
        return []
    del o.visits[b["call"]]
    return [Write("queue_visits", visit, _take(b, "talked", "held", released_at=at, released_by=b["ended_by"]))]


def _offered(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("offers", b["offer"], _take(b, "call", "queue", "agent", "ring_for", "waited", offered_at=at))]


def _missed(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("offers", b["offer"], _take(b, "call", "queue", "agent", "rang", "result", ended_at=at))]


def _withdrawn(_: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return [Write("offers", b["offer"], _take(b, "call", "queue", "agent", "rang", ended_at=at, result="withdrawn"))]


def _agent_changed(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    before = o.agents.get(b["agent"])
    o.agents[b["agent"]] = seq
    writes = [Write("agent_states", seq, _take(b, "agent", "state", "reason", "via", "call", began_at=at))]
    if before is not None:
        writes.append(Write("agent_states", before, {"ended_at": at, "lasted": b["lasted"]}))
    return writes


# --- phones ---------------------------------------------------------------------------------------------------


def _registered(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    before = o.phones.get((b["aor"], b["contact"]))
    o.phones[b["aor"], b["contact"]] = seq
    values = _take(b, "aor", "contact", "expires", "source", "user_agent", registered_at=at)
    writes = [Write("registrations", seq, values)]
    if before is not None:
        writes.append(Write("registrations", before, {"ended_at": at, "why": "replaced"}))
    return writes


def _refreshed(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    row = o.phones.get((b["aor"], b["contact"]))
    return [] if row is None else [Write("registrations", row, {"expires": b["expires"], "refreshed_at": at})]


def _unregistered(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    row = o.phones.pop((b["aor"], b["contact"]), None)
    return [] if row is None else [Write("registrations", row, {"ended_at": at, "why": b["why"]})]


# --- incidents ------------------------------------------------------------------------------------------------


def _incident(kind: str, what: str) -> "_Step":
    """`what` is a format of the event's own fields."""

    def step(_: Open, b: Values, seq: int, at: float) -> list[Write]:
        row = {"at": at, "kind": kind, "call": b.get("call"), "what": what.format_map(b)}
        return [Write("incidents", seq, row)]

    return step


_EXITED = _incident("process_exited", "{process} (pid {pid}): {status} after {up_for:.0f} s")


def _process_exited(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    return [] if b.get("ordered") else _EXITED(o, b, seq, at)


def _control_started(o: Open, b: Values, seq: int, at: float) -> list[Write]:
    died, o.control_up = o.control_up, True
    what = f"control ended without saying so; started again with {b['recovered_calls']} calls"
    return [Write("incidents", seq, {"at": at, "kind": "control_died", "call": None, "what": what})] if died else []


def _control_stopped(o: Open, _b: Values, _seq: int, _at: float) -> list[Write]:
    o.control_up = False
    return []


def _fault(kind: str, subject: str, what: str) -> "_Step":
    """A fault that lasts begins, unless it has begun already. subject, what: formats of the event's fields."""

    def step(o: Open, b: Values, seq: int, at: float) -> list[Write]:
        whom = subject.format_map(b)
        if (kind, whom) in o.incidents:
            return []
        o.incidents[kind, whom] = (seq, at)
        row = {"at": at, "kind": kind, "call": None, "what": what.format_map(b), "subject": whom}
        return [Write("incidents", seq, row)]

    return step


def _mended(kind: str, subject: str) -> "_Step":
    def step(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
        return _close_incidents(o, [(kind, subject.format_map(b))], at)

    return step


def _close_incidents(o: Open, which: Iterable[tuple[str, str]], at: float) -> list[Write]:
    writes = []
    for key in which:
        began = o.incidents.pop(key, None)
        if began is not None:
            writes.append(Write("incidents", began[0], {"ended_at": at, "lasted": at - began[1]}))
    return writes


def _trunk_started(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    """Faults of targets, and of a registration, that the trunk has no more."""
    there = {f"{b['trunk']} {target}" for target in b["targets"]} | {b["trunk"]}
    gone = [key for key in _of_trunk(o, b["trunk"]) if key[1] not in there]
    gone += [] if b["registers"] else [("trunk_unregistered", b["trunk"])]
    return _close_incidents(o, gone, at)


def _trunk_removed(o: Open, b: Values, _seq: int, at: float) -> list[Write]:
    return _close_incidents(o, _of_trunk(o, b["trunk"]), at)


def _of_trunk(o: Open, trunk: str) -> list[tuple[str, str]]:
    return [
        (kind, subject)
        for kind, subject in o.incidents
        if kind.startswith("trunk_") and subject.partition(" ")[0] == trunk
    ]


def _journal_waited(_o: Open, b: Values, seq: int, at: float) -> list[Write]:
    what = f"events waited in memory, {b['lost']} were lost: {b['why']}"
    row = {"at": b["since"], "kind": "journal_waited", "call": None, "what": what, "subject": "journal"}
    return [Write("incidents", seq, {**row, "ended_at": at, "lasted": b["lasted"]})]


_Step = Callable[[Open, Values, int, float], list[Write]]
_STEPS: Final[Mapping[str, _Step]] = MappingProxyType(
    {
        "CallArrived": _arrived,
        "CallAnswered": _answered,
        "CallEnded": _ended,
        "AttributeSet": _attribute,
        "LegDialled": _leg_dialled,
        "LegRinging": _leg_ringing,
        "LegAnswered": _leg_answered,
        "LegEnded": _leg_ended,
        "LegMediaReported": _leg_media,
        "RecordingStarted": _recording_started,
        "RecordingStopped": _recording_stopped,
        "NodeEntered": _node_entered,
        "NodeLeft": _node_left,
        "FlowLeft": _flow_left,
        "CallQueued": _queued,
        "CallConnected": _connected,
        "CallAbandoned": _abandoned,
        "CallFlowedOut": _flowed_out,
        "CallReleased": _released,
        "CallOffered": _offered,
        "OfferMissed": _missed,
        "OfferWithdrawn": _withdrawn,
        "AgentStateChanged": _agent_changed,
        "PhoneRegistered": _registered,
        "PhoneRefreshed": _refreshed,
        "PhoneUnregistered": _unregistered,
        "ControlStarted": _control_started,
        "ControlStopped": _control_stopped,
        "ProcessExited": _process_exited,
        "ProcessAdopted": _incident("supervisor_died", "{process} (pid {pid}) went on without, and was taken over"),
        "ProcessStalled": _incident("process_stalled", "{process} (pid {pid}) stood still for {silent_for:.1f} s"),
        "ProcessOutgrew": _incident(
            "process_outgrew", "{process} (pid {pid}) took {used_bytes:,} bytes of memory, {limit_bytes:,} are allowed"
        ),
        "FlowFailed": _incident("flow_failed", "flow {flow}, node {node}: {error}"),
        "RtpTimedOut": _incident("rtp_timed_out", "leg {leg} sent no audio for {silent_for:.0f} s"),
        "TrunkStarted": _trunk_started,
        "TrunkRemoved": _trunk_removed,
        "TrunkDown": _fault("trunk_down", "{trunk}", "no target is up: {why}"),
        "TrunkUp": _mended("trunk_down", "{trunk}"),
        "TrunkTargetDown": _fault("trunk_target_down", "{trunk} {target}", "{why}"),
        "TrunkTargetUp": _mended("trunk_target_down", "{trunk} {target}"),
        "TrunkTargetUnresolved": _fault("trunk_target_unresolved", "{trunk} {target}", "{why}"),
        "TrunkTargetResolved": _mended("trunk_target_unresolved", "{trunk} {target}"),
        "TrunkRegistrationFailed": _fault("trunk_unregistered", "{trunk}", "{sip_status} {why}"),
        "TrunkRegistered": _mended("trunk_unregistered", "{trunk}"),
        "TrunkUnregistered": _mended("trunk_unregistered", "{trunk}"),
        "SourceBlocked": _incident("source_blocked", "{source} for {seconds:.0f} s: {why}"),
        "OverloadBegan": _incident("overload", "new calls are refused: {cause} at {pressure:.2f} of its limit"),
        "RecordingFailed": _incident("recording_failed", "{path}: {seconds:.1f} s kept, {refused:.1f} s lost: {why}"),
        "JournalWaited": _journal_waited,
        "DiskLow": _fault("disk_low", "{folder}", "{free_bytes} of {total_bytes} bytes are free"),
        "DiskEnough": _mended("disk_low", "{folder}"),
        "AuthenticationFailed": _incident("authentication_failed", "{count} times from {source} ({method})"),
    }
)
