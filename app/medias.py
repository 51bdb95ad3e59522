"""The media processes as control sees them: connected when they come up, again when they come back."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from engine.media.client import PlaneClient, connect
from engine.media.plane import Health, MediaEvent, Plane, PlaneError
from events.types import Event, MediaReported

log = structlog.get_logger()

RETRY_EVERY = 0.05
"""Seconds between two attempts to reach a media process that is not there yet."""


class Medias:
    """sockets: name → UNIX socket. clips: loaded into each before it gets a call."""

    def __init__(
        self,
        sockets: dict[str, Path],
        clips: Sequence[str],
        *,
        emit: Callable[[Event], None],
        event: Callable[[Plane, MediaEvent], None],
        lost: Callable[[Plane], None],
    ) -> None:
        self._sockets = sockets
        self._clips = clips
        self._emit = emit
        self._event = event
        self._lost = lost
        self._planes: dict[str, PlaneClient] = {}
        self._load: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when every media process is connected; goes on reconnecting until `close`."""
        ups = []
        for name, path in self._sockets.items():
            up = asyncio.Event()
            ups.append(up.wait())
            self._tasks.append(asyncio.create_task(self._keep(name, path, up), name=f"media {name}"))
        await asyncio.gather(*ups)

    def choose(self) -> Plane | None:
        """The connected one with the fewest ports at its last report."""
        if not self._planes:
            return None
        name = min(self._planes, key=lambda name: self._load.get(name, 0))
        self._load[name] = self._load.get(name, 0) + 2  # until the next report: a caller and an agent
        return self._planes[name]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, name: str, path: Path, up: asyncio.Event) -> None:
        while True:
            gone = asyncio.Event()
            plane = await self._connect(name, path, gone)
            self._planes[name] = plane
            self._load[name] = 0
            up.set()
            try:
                await gone.wait()
            finally:
                if self._planes.pop(name, None) is not None:
                    await plane.aclose()

    def _gone(self, name: str, gone: asyncio.Event) -> None:
        """Told before whoever waits for an answer of it hears that none will come: he can be sent elsewhere at once."""
        gone.set()
        plane = self._planes.pop(name, None)
        if plane is not None:
            log.error("media process lost", media=name)
            self._lost(plane)

    async def _connect(self, name: str, path: Path, gone: asyncio.Event) -> PlaneClient:
        told: list[PlaneClient] = []  # the plane is needed in its own callback

        def event(what: MediaEvent) -> None:
            if isinstance(what, Health):
                self._healthy(name, what)
            elif told:
                self._event(told[0], what)

        said = ""
        while True:
            plane = await self._reach(name, path, event, partial(self._gone, name, gone))
            try:
                plane.reset()  # ports of calls that an earlier control process took with it
                await plane.load(self._clips)
            except PlaneError as error:
                if str(error) != said:
                    log.error("media process cannot be used", media=name, error=str(error))
                said = str(error)
                await plane.aclose()
                gone.clear()
                await asyncio.sleep(RETRY_EVERY)
            else:
                told.append(plane)
                return plane

    @staticmethod
    async def _reach(
        name: str, path: Path, event: Callable[[MediaEvent], None], lost: Callable[[], None]
    ) -> PlaneClient:
        """Connect, however long it takes."""
        while True:
            try:
                return await connect(str(path), events=event, lost=lost)
            except (OSError, PlaneError) as error:
                log.debug("media process not there yet", media=name, error=str(error))
                await asyncio.sleep(RETRY_EVERY)

    def _healthy(self, name: str, health: Health) -> None:
        self._load[name] = health.ports
        self._emit(
            MediaReported(
                media=name,
                ports=health.ports,
                bridged=health.bridged,
                recording=health.recording,
                playing=health.playing,
                packets_received=health.packets_received,
                packets_sent=health.packets_sent,
                packets_dropped=health.packets_dropped,
                strangers=health.strangers,
                stun=health.stun,
                recording_overruns=health.recording_overruns,
                event_overruns=health.event_overruns,
                late_ms_max=health.late_ms_max,
                cpu_seconds=health.cpu_seconds,
                recording_refused=health.recording_refused,
            )
        )
