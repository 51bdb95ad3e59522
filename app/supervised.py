"""Control's end of the report socket: facts of the supervisor are journalled, its orders obeyed (app/messages.py)."""

import asyncio
import socket
from collections.abc import Callable

import structlog

from app.draining import Draining
from app.messages import LINE_BYTES, Drain, Left, Message, Noted, Ready, encode, read_order
from events.types import Event

log = structlog.get_logger()


class Supervised:
    """`run` once, when calls are answered."""

    def __init__(self, emit: Callable[[Event], None], draining: Draining) -> None:
        self._emit = emit
        self._draining = draining
        self._writer: asyncio.StreamWriter | None = None
        self._counting: asyncio.Task[None] | None = None

    async def run(self, fd: int) -> None:
        """Until the supervisor is gone. fd: of the socket."""
        reader, self._writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd), limit=LINE_BYTES)
        self._say(Ready())
        noted = 0
        try:
            while line := await reader.readline():
                message = read_order(line)
                if isinstance(message, Event):
                    self._emit(message)
                    noted += 1
                    self._say(Noted(noted))
                elif isinstance(message, Drain):
                    self._drain(message)
                else:
                    log.warning("supervisor said what nobody understands", line=line[:200].decode(errors="replace"))
        finally:
            if self._counting is not None:
                self._counting.cancel()

    def _drain(self, order: Drain) -> None:
        self._draining.begin(order.within)
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._draining.calls_left(lambda calls: self._say(Left(calls))))

    def _say(self, note: Message) -> None:
        assert self._writer is not None
        self._writer.write(encode(note))
