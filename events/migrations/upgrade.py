"""Run by the ledger at its start and by `callwright db upgrade`: bring a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """In the connection's transaction; nothing happens when it is up to date. Raises SQLAlchemyError."""
    command.upgrade(alembic_config(connection), "head")
