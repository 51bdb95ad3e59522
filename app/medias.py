"""The media processes as control sees them: connected when they come up, again when they come back."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from engine.media.client import PlaneClient, connect
from engine.media.plane import Health, MediaEvent, Plane, PlaneError
from events.types import Event, MediaReported

log = structlog.get_logger()

RETRY_EVERY = 0.05
"""Seconds between two attempts to reach a media process that is not there yet."""
RETIRE_EVERY = 1.0
"""Seconds between two looks at whether a retiring one is needed still."""


class Medias:
    """sockets: name → UNIX socket. clips: loaded into each before it gets a call. retiring: those of them that get no
    new calls. needed: whether a call has to do with a plane."""

    def __init__(
        self,
        sockets: dict[str, Path],
        clips: Sequence[str],
        *,
        emit: Callable[[Event], None],
        event: Callable[[Plane, MediaEvent], None],
        lost: Callable[[Plane], None],
        retiring: Collection[str] = (),
        needed: Callable[[Plane], bool] = lambda _: False,
    ) -> None:
        self._sockets = dict(sockets)
        self._retiring = set(retiring)
        self._needed = needed
        self.retired: Callable[[str], None] = lambda _: None
        """Told, again and again until it is gone, of one that was retiring and that no call needs any more."""
        self._clips = clips
        self._emit = emit
        self._event = event
        self._lost = lost
        self._planes: dict[str, PlaneClient] = {}
        self._load: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when every media process is connected; goes on reconnecting until `close`."""
        ups = []
        for name, path in self._sockets.items():
            up = asyncio.Event()
            ups.append(up.wait())
            self._add(name, path, up)
        self._watch = asyncio.create_task(self._watch_retiring(), name="retiring media")
        await asyncio.gather(*ups)

    def change(self, sockets: Mapping[str, Path], retiring: Collection[str]) -> None:
        """These are there from now on. New ones get calls as soon as they are connected; those that are named no more
        have ended."""
        self._retiring = set(retiring)
        for name in [name for name in self._tasks if name not in sockets]:
            self._tasks.pop(name).cancel()
        for name, path in sockets.items():
            if name not in self._tasks:
                self._add(name, path, asyncio.Event())

    def _add(self, name: str, path: Path, up: asyncio.Event) -> None:
        self._tasks[name] = asyncio.create_task(self._keep(name, path, up), name=f"media {name}")

    async def _watch_retiring(self) -> None:
        while True:
            await asyncio.sleep(RETIRE_EVERY)
            for name in self._retiring & self._planes.keys():
                if not self._needed(self._planes[name]):
                    self.retired(name)

    def choose(self) -> Plane | None:
        """The connected one with the fewest ports at its last report."""
        names = self._planes.keys() - self._retiring or self._planes.keys()
        if not names:
            return None
        name = min(sorted(names), key=lambda name: self._load.get(name, 0))
        self._load[name] = self._load.get(name, 0) + 2  # until the next report: a caller and an agent
        return self._planes[name]

    async def close(self) -> None:
        tasks = [*self._tasks.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
            if name in self._retiring and not self._needed(plane):
                log.info("media process has retired", media=name)
            else:
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
