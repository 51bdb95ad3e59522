"""Control's end of the report socket: facts of the supervisor are journalled, its orders obeyed (app/messages.py).

When the supervisor dies, control goes on as before, and reports to the next one as soon as that has taken it over
(app/adoption.py).
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from app.draining import Draining
from app.medias import Medias as Planes
from app.messages import LINE_BYTES, Drain, Left, Medias, Message, Noted, Ready, Retired, encode, read_order
from app.unix_socket import connect
from events.types import Event

log = structlog.get_logger()

LOOK_EVERY = 0.2
"""Seconds between two looks for another supervisor."""
NOTICED_WITHIN = 0.05
"""Seconds for the end of the supervisor to reach us, when both are told to end at the same moment."""


class Supervised:
    """`run` once, when calls are answered. desk: the supervisor's socket. soon: carries out an effect when what led to
    it is in the journal; the supervisor is told nothing that is not, for it forgets the facts that we have noted."""

    def __init__(
        self,
        emit: Callable[[Event], None],
        soon: Callable[..., None],
        draining: Draining,
        planes: Planes,
        desk: Path,
    ) -> None:
        self._emit = emit
        self._soon = soon
        self._draining = draining
        self._planes = planes
        self._desk = desk
        self._writer: asyncio.StreamWriter | None = None
        self._counting: asyncio.Task[None] | None = None
        self._there = asyncio.Event()

    async def run(self, fd: int) -> None:
        """For ever. fd: of the first socket."""
        self._planes.retired = self._retired
        sock = socket.socket(fileno=fd)
        while True:
            await self._obey(sock)
            log.warning("the supervisor is gone; going on without")
            sock = await self._next()
            self._draining.give_up()  # the order was that of one who is dead
            log.info("another supervisor has taken over")

    async def drained_alone(self, within: float) -> bool:
        """SIGTERM has come. True when this process is to stop now: because its supervisor says so, or because it has
        none, and the last call is over, or `within` seconds. False when a supervisor has taken over meanwhile."""
        await asyncio.sleep(NOTICED_WITHIN)
        if self._there.is_set():
            return True
        self._draining.begin(within)
        calls, found = (
            asyncio.create_task(self._draining.calls_left(lambda _: None)),
            asyncio.create_task(self._there.wait()),
        )
        await asyncio.wait([calls, found], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        calls.cancel()
        found.cancel()
        if self._there.is_set():
            self._draining.give_up()
        return not self._there.is_set()

    async def _obey(self, sock: socket.socket) -> None:
        """Until the other end is gone."""
        reader, self._writer = await asyncio.open_unix_connection(sock=sock, limit=LINE_BYTES)
        self._there.set()
        self._say(Ready())
        noted = 0
        with suppress(ConnectionError):
            while line := await reader.readline():
                message = read_order(line)
                if isinstance(message, Event):
                    self._emit(message)
                    noted += 1
                    self._say(Noted(noted))
                else:
                    self._order(message)
        self._there.clear()
        self._writer.close()
        if self._counting is not None:
            self._counting.cancel()

    def _order(self, order: Message | None) -> None:
        match order:
            case Drain(within):
                self._draining.begin(within)
                if self._counting is None or self._counting.done():
                    self._counting = asyncio.create_task(self._draining.calls_left(lambda n: self._say(Left(n))))
            case Medias(sockets, retiring):
                self._planes.change({name: Path(path) for name, path in sockets.items()}, retiring)
            case _:
                log.warning("the supervisor said what nobody here understands")

    def _retired(self, media: str) -> None:
        self._say(Retired(media))

    async def _next(self) -> socket.socket:
        """A connection to a supervisor that has adopted us. One that has not closes it at once, or has ended before it
        could."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(OSError):
                sock = await asyncio.to_thread(connect, self._desk, LOOK_EVERY)
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, b'{"do":"report"}\n')
                return sock

    def _say(self, note: Message) -> None:
        if self._writer is not None and self._there.is_set():
            self._soon(self._writer.write, encode(note))
