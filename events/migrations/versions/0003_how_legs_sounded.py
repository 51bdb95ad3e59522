"""How each leg sounded: MOS, loss, jitter and round trip."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "kind": sa.Text(),
    "loss": sa.Double(),
    "mos": sa.Double(),
    "remote_mos": sa.Double(),
    "remote_jitter_ms": sa.Double(),
    "round_trip_ms": sa.Double(),
    "srtp": sa.Text(),
    "unauthenticated": sa.BigInteger(),
    "stun": sa.BigInteger(),
}
AT_ONCE = 1000
EVENTS = sa.table(
    "events",
    sa.column("type", sa.Text()),
    sa.column("body", sa.JSON().with_variant(JSONB(), "postgresql")),
)
LEGS = sa.table("legs", sa.column("leg", sa.Text()), *(sa.column(name, kind) for name, kind in COLUMNS.items()))


def upgrade() -> None:
    """Legs of before get what their events say, so that a rebuild finds nothing to mend."""
    for name, kind in COLUMNS.items():
        op.add_column("legs", sa.Column(name, kind))
    connection = op.get_bind()
    change = LEGS.update().where(LEGS.c.leg == sa.bindparam("of_leg"))
    change = change.values({name: sa.bindparam(name) for name in COLUMNS})
    found = connection.execute(sa.select(EVENTS.c.body).where(EVENTS.c.type == "LegMediaReported"))
    for rows in found.partitions(AT_ONCE):
        connection.execute(change, [_row(row.body) for row in rows])


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("legs", name)


def _row(body: dict[str, Any]) -> dict[str, Any]:
    lost = max(0, body["packets_lost"])
    expected = body["packets_received"] + lost
    measured = {
        name: value if (value := body.get(name, -1)) >= 0 else None for name in ("remote_jitter_ms", "round_trip_ms")
    }
    return {
        "of_leg": body["leg"],
        "kind": body.get("kind", ""),
        "loss": lost / expected if expected else None,
        "mos": body.get("mos") or None,
        "remote_mos": body.get("remote_mos") or None,
        **measured,
        "srtp": body.get("srtp", ""),
        "unauthenticated": body.get("unauthenticated", 0),
        "stun": body.get("stun", 0),
    }
