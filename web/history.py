"""The story of one call, from the tables that the ledger keeps. They follow the log by about half a second."""

from typing import Protocol

from web.views import CallEvent

MAX_EVENTS = 10_000
"""Of one call's story; a call has some tens."""


class Away(Exception):
    """The database gives no answer now."""


class History(Protocol):
    async def call(self, call_id: str) -> list[CallEvent]:
        """In order; [] for an unknown call. Raises Away."""


class SqlHistory:
    """url: as events.store reads it. SQLAlchemy is loaded at the first question, not at start-up."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def call(self, call_id: str) -> list[CallEvent]:
        from sqlalchemy import exc, select  # noqa: PLC0415  (0.3 s of imports)

        from events.store import open_engine  # noqa: PLC0415
        from events.tables import events  # noqa: PLC0415

        columns = events.c.seq, events.c.at, events.c.type, events.c.body
        query = select(*columns).where(events.c.call == call_id).order_by(events.c.seq).limit(MAX_EVENTS)
        engine = open_engine(self._url, pooled=False)
        try:
            async with engine.connect() as connection:
                rows = await connection.execute(query)
                return [CallEvent(seq=seq, at=at, type=kind, fields=body) for seq, at, kind, body in rows]
        except (exc.SQLAlchemyError, OSError) as error:
            raise Away(str(error)) from error
        finally:
            await engine.dispose()
