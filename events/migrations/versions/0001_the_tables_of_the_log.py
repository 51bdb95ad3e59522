"""The tables of the log, as events/tables.py had them at first."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

TABLES = {
    "events": """
        seq bigint key, at double required, type text required, call text, agent text, queue text, body json
        required""",
    "calls": """
        call text key, sip_call_id text, caller text, caller_name text, dialled text, source text, trunk text,
        arrived_at double, answered_at double, answered_after double, codec text, ended_at double, outcome text,
        ended_by text, sip_status bigint, reason text, duration double, talked double""",
    "call_attributes": "call text key, name text key, value text, set_at double",
    "legs": """
        leg text key, call text, direction text, target text, dialled_at double, ringing_at double, answered_at
        double, ended_at double, rang double, codec text, sip_status bigint, ended_by text, reason text, talked
        double, packets_received bigint, packets_sent bigint, packets_lost bigint, jitter_ms double,
        jitter_max_ms double, strangers bigint, remote_lost bigint""",
    "queue_visits": """
        visit bigint key, call text, queue text, skills json, priority bigint, position bigint, entered_at
        double, left_at double, outcome text, waited double, left_position bigint, agent text, offer text, rang
        double, talked double, held double, released_at double, released_by text""",
    "offers": """
        offer text key, call text, queue text, agent text, ring_for double, waited double, offered_at double,
        ended_at double, result text, rang double""",
    "agent_states": """
        interval bigint key, agent text, state text, reason text, via text, call text, began_at double, ended_at
        double, lasted double""",
    "registrations": """
        registration bigint key, aor text, contact text, source text, user_agent text, expires double,
        registered_at double, refreshed_at double, ended_at double, why text""",
    "recordings": "path text key, call text, started_at double, stopped_at double, seconds double, lost_frames bigint",
    "flow_steps": """
        step bigint key, call text, flow text, node text, verb text, entered_at double, left_at double, edge
        text, left_to text, dwell double""",
    "incidents": "incident bigint key, at double, kind text, call text, what text",
    "checkpoint": "id integer key, seq bigint required, at double required, journal double required",
}

# name, table, columns, condition of a partial index
INDEXES = (
    ("ix_events_at", "events", "at", ""),
    ("ix_events_call", "events", "call", ""),
    ("ix_events_type", "events", "type", ""),
    ("calls_open", "calls", "ended_at", "ended_at IS NULL"),
    ("ix_calls_arrived_at", "calls", "arrived_at", ""),
    ("ix_calls_caller", "calls", "caller", ""),
    ("ix_legs_call", "legs", "call", ""),
    ("ix_queue_visits_call", "queue_visits", "call", ""),
    ("queue_visits_open", "queue_visits", "call", "released_at IS NULL AND (outcome IS NULL OR outcome = 'answered')"),
    ("queue_visits_queue_entered_at", "queue_visits", "queue, entered_at", ""),
    ("ix_offers_call", "offers", "call", ""),
    ("offers_agent_offered_at", "offers", "agent, offered_at", ""),
    ("agent_states_agent_began_at", "agent_states", "agent, began_at", ""),
    ("agent_states_open", "agent_states", "ended_at", "ended_at IS NULL"),
    ("ix_registrations_aor", "registrations", "aor", ""),
    ("registrations_open", "registrations", "ended_at", "ended_at IS NULL"),
    ("ix_recordings_call", "recordings", "call", ""),
    ("flow_steps_open", "flow_steps", "left_at", "left_at IS NULL"),
    ("ix_flow_steps_call", "flow_steps", "call", ""),
    ("ix_incidents_at", "incidents", "at", ""),
)


def _type(word: str) -> Any:
    json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    types = {"text": sa.Text(), "double": sa.Double(), "bigint": sa.BigInteger(), "integer": sa.Integer(), "json": json}
    return types[word]


def _column(text: str) -> sa.Column[Any]:
    name, kind, *marks = text.split()
    key = "key" in marks
    return sa.Column(name, _type(kind), primary_key=key, nullable=not marks, autoincrement=False)


def upgrade() -> None:
    for name, columns in TABLES.items():
        op.create_table(name, *(_column(text) for text in columns.split(",")))
    for name, table, names, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, names.split(", "), postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name in TABLES:
        op.drop_table(name)
