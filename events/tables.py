"""The SQL tables that are projected from the log. One row says what one thing came to; NULL: not (yet) known.

Times are UTC seconds since 1970 in double precision, as in the log, so that every database holds equal values.
Migrations (events/migrations) bring a database here; a test holds the two together.
"""

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, MetaData, Table, Text, and_, or_
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


def _json() -> JSON:
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _key(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def _text_key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _open_index(name: str, column: Column[float]) -> Index:
    """Over the rows whose end is not known: few, and asked for at every start of the ledger."""
    return Index(name, column, postgresql_where=column.is_(None), sqlite_where=column.is_(None))


events = Table(
    "events",
    metadata,
    _key("seq"),
    Column("at", Double, nullable=False, index=True),
    Column("type", Text, nullable=False, index=True),
    Column("call", Text, index=True),
    Column("agent", Text),
    Column("queue", Text),
    Column("body", _json(), nullable=False, doc="The event's fields, without its type."),
)

calls = Table(
    "calls",
    metadata,
    _text_key("call"),
    Column("sip_call_id", Text),
    Column("caller", Text, index=True),
    Column("caller_name", Text),
    Column("dialled", Text),
    Column("source", Text),
    Column("trunk", Text),
    Column("arrived_at", Double, index=True),
    Column("answered_at", Double),
    Column("answered_after", Double),
    Column("codec", Text),
    Column("ended_at", Double),
    Column("outcome", Text),
    Column("ended_by", Text),
    Column("sip_status", BigInteger),
    Column("reason", Text),
    Column("duration", Double),
    Column("talked", Double),
)
_open_index("calls_open", calls.c.ended_at)

call_attributes = Table(
    "call_attributes",
    metadata,
    _text_key("call"),
    _text_key("name"),
    Column("value", Text),
    Column("set_at", Double),
)

legs = Table(
    "legs",
    metadata,
    _text_key("leg"),
    Column("call", Text, index=True),
    Column("direction", Text, doc="in: the caller's; out: dialled by us"),
    Column("target", Text),
    Column("dialled_at", Double),
    Column("ringing_at", Double),
    Column("answered_at", Double),
    Column("ended_at", Double),
    Column("rang", Double),
    Column("codec", Text),
    Column("sip_status", BigInteger),
    Column("ended_by", Text),
    Column("reason", Text),
    Column("talked", Double),
    Column("packets_received", BigInteger),
    Column("packets_sent", BigInteger),
    Column("packets_lost", BigInteger),
    Column("jitter_ms", Double),
    Column("jitter_max_ms", Double),
    Column("strangers", BigInteger),
    Column("remote_lost", BigInteger),
    Column("kind", Text, doc="caller, phone, telephone (through a trunk)"),
    Column("loss", Double, doc="share of the peer's packets that never came; NULL: none was due"),
    Column("mos", Double, doc="what we heard, by the E-model; NULL: nothing"),
    Column("remote_mos", Double, doc="what the peer heard of us, by its last report; NULL: it sent none"),
    Column("remote_jitter_ms", Double, doc="likewise"),
    Column("round_trip_ms", Double, doc="NULL: not measured"),
    Column("srtp", Text, doc="suite; empty: plain RTP"),
    Column("unauthenticated", BigInteger),
    Column("stun", BigInteger),
)

queue_visits = Table(
    "queue_visits",
    metadata,
    _key("visit"),
    Column("call", Text, index=True),
    Column("queue", Text, doc="none (empty): a talk that a colleague passed on or asked for"),
    Column("skills", _json()),
    Column("priority", BigInteger),
    Column("position", BigInteger, doc="at entry"),
    Column("entered_at", Double),
    Column("left_at", Double, doc="t_con, or when it gave up or was sent on"),
    Column("outcome", Text, doc="answered | abandoned | a QueueExit"),
    Column("waited", Double),
    Column("left_position", BigInteger, doc="when it abandoned"),
    Column("agent", Text),
    Column("offer", Text),
    Column("rang", Double),
    Column("talked", Double),
    Column("held", Double),
    Column("released_at", Double),
    Column("released_by", Text),
)
Index("queue_visits_queue_entered_at", queue_visits.c.queue, queue_visits.c.entered_at)
visit_open = and_(
    queue_visits.c.released_at.is_(None), or_(queue_visits.c.outcome.is_(None), queue_visits.c.outcome == "answered")
)
Index("queue_visits_open", queue_visits.c.call, postgresql_where=visit_open, sqlite_where=visit_open)

offers = Table(
    "offers",
    metadata,
    _text_key("offer"),
    Column("call", Text, index=True),
    Column("queue", Text),
    Column("agent", Text),
    Column("ring_for", Double),
    Column("waited", Double, doc="by the caller, when it was offered"),
    Column("offered_at", Double),
    Column("ended_at", Double),
    Column("result", Text, doc="answered | withdrawn | an OfferResult"),
    Column("rang", Double),
)
Index("offers_agent_offered_at", offers.c.agent, offers.c.offered_at)

agent_states = Table(
    "agent_states",
    metadata,
    _key("interval"),
    Column("agent", Text),
    Column("state", Text),
    Column("reason", Text),
    Column("via", Text),
    Column("call", Text),
    Column("began_at", Double),
    Column("ended_at", Double),
    Column("lasted", Double),
)
Index("agent_states_agent_began_at", agent_states.c.agent, agent_states.c.began_at)
_open_index("agent_states_open", agent_states.c.ended_at)

registrations = Table(
    "registrations",
    metadata,
    _key("registration"),
    Column("aor", Text, index=True),
    Column("contact", Text),
    Column("source", Text),
    Column("user_agent", Text),
    Column("expires", Double),
    Column("registered_at", Double),
    Column("refreshed_at", Double),
    Column("ended_at", Double),
    Column("why", Text, doc="removed | expired | replaced"),
)
_open_index("registrations_open", registrations.c.ended_at)

recordings = Table(
    "recordings",
    metadata,
    _text_key("path"),
    Column("call", Text, index=True),
    Column("started_at", Double),
    Column("stopped_at", Double),
    Column("seconds", Double),
    Column("lost_frames", BigInteger),
)

flow_steps = Table(
    "flow_steps",
    metadata,
    _key("step"),
    Column("call", Text, index=True),
    Column("flow", Text),
    Column("node", Text),
    Column("verb", Text),
    Column("entered_at", Double),
    Column("left_at", Double),
    Column("edge", Text),
    Column("left_to", Text),
    Column("dwell", Double),
)
_open_index("flow_steps_open", flow_steps.c.left_at)

incidents = Table(
    "incidents",
    metadata,
    _key("incident"),
    Column("at", Double, index=True),
    Column("kind", Text),
    Column("call", Text),
    Column("what", Text),
    Column("subject", Text, doc="whom a fault that lasts concerns: `carrier`, `carrier udp:192.0.2.1:5060`"),
    Column("ended_at", Double, doc="of a fault that lasts"),
    Column("lasted", Double),
)
incident_open = and_(incidents.c.subject.is_not(None), incidents.c.ended_at.is_(None))
Index("incidents_open", incidents.c.subject, postgresql_where=incident_open, sqlite_where=incident_open)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, doc="always 1"),
    Column("seq", BigInteger, nullable=False, doc="of the last record projected"),
    Column("at", Double, nullable=False, doc="its time: tells a journal that was cut and went on otherwise"),
    Column("journal", Double, nullable=False, doc="time of record 1: tells one journal from another"),
)

PROJECTED = (
    events,
    calls,
    call_attributes,
    legs,
    queue_visits,
    offers,
    agent_states,
    registrations,
    recordings,
    flow_steps,
    incidents,
)
