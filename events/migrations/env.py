"""Alembic's entry point. The connection is given by upgrade.py; there is no ini file and no offline mode."""

from alembic import context

from events.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
