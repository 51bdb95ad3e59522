"""Incidents that begin and end: trunks, their targets and registrations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OPEN = sa.text("subject IS NOT NULL AND ended_at IS NULL")


def upgrade() -> None:
    op.add_column("incidents", sa.Column("subject", sa.Text()))
    op.add_column("incidents", sa.Column("ended_at", sa.Double()))
    op.add_column("incidents", sa.Column("lasted", sa.Double()))
    op.create_index("incidents_open", "incidents", ["subject"], postgresql_where=OPEN, sqlite_where=OPEN)


def downgrade() -> None:
    op.drop_index("incidents_open", "incidents")
    for name in ("lasted", "ended_at", "subject"):
        op.drop_column("incidents", name)
