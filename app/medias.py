"""The media processes as control sees them: connected when they come up, again when they come back."""

import asyncio
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog

from engine.media.client import PlaneClient, Soon, connect
from engine.media.plane import Health, MediaEvent, Plane, PlaneError, PortId
from engine.media.protocol import Hello
from events.types import Event, MediaReported

log = structlog.get_logger()

RETRY_EVERY = 0.05
"""Seconds between two attempts to reach a media process that is not there yet."""
ACKNOWLEDGE_EVERY = 500
"""Events of a media process between two words to it that it may forget them; it keeps some thousands. Each such word
wakes it, and nothing waits for one: a successor of ours says by itself after which event to go on."""
RETIRE_EVERY = 1.0
"""Seconds between two looks at whether a retiring one is needed still."""


class MediaSaved(msgspec.Struct):
    """How far the events of a media process are dealt with."""

    instance: str
    seen: int


class Medias:
    """sockets: name → UNIX socket. clips: loaded into each before it gets a call. retiring: those of them that get no
    new calls. soon: takes what sends the commands of this turn, to be called when what they follow from is written.
    saved: name → what `save` kept of it."""

    def __init__(
        self,
        sockets: dict[str, Path],
        clips: Sequence[str],
        *,
        emit: Callable[[Event], None],
        event: Callable[[Plane, MediaEvent], None],
        lost: Callable[[Plane], None],
        soon: Soon,
        saved: Mapping[str, bytes],
        retiring: Collection[str] = (),
    ) -> None:
        self._sockets = dict(sockets)
        self._retiring = set(retiring)
        self.needed: Callable[[Plane], bool] = lambda _: False
        """Whether a call has to do with a plane."""
        self.retired: Callable[[str], None] = lambda _: None
        """Told, again and again until it is gone, of one that was retiring and that no call needs any more."""
        self._clips = clips
        self._emit = emit
        self._event = event
        self._lost = lost
        self._soon = soon
        self._seen = {name: msgspec.json.decode(state, type=MediaSaved) for name, state in saved.items()}
        self._held: list[tuple[str, MediaEvent]] | None = []
        """Events for legs that are not there yet: see `deliver`."""
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
        self._seen.setdefault(name, MediaSaved("", 0))
        self._tasks[name] = asyncio.create_task(self._keep(name, path, up), name=f"media {name}")

    async def _watch_retiring(self) -> None:
        while True:
            await asyncio.sleep(RETIRE_EVERY)
            for name in self._retiring & self._planes.keys():
                if not self.needed(self._planes[name]):
                    self.retired(name)

    def named(self, name: str) -> PlaneClient | None:
        """The media process of this name, when it is connected."""
        return self._planes.get(name)

    def same(self, name: str) -> bool:
        """Whether it is still the process that an earlier control process knew: its ports are what they were."""
        plane = self._planes.get(name)
        return plane is not None and plane.hello.instance == self._seen[name].instance

    def deliver(self) -> None:
        """Legs are there: they get the events that came before them."""
        held, self._held = self._held or [], None
        for name, event in held:
            if (plane := self._planes.get(name)) is not None:
                self._event(plane, event)

    def sweep(self, claimed: Callable[[Plane], Container[PortId]]) -> None:
        """Close the ports that were open before this process, and that no leg has."""
        for plane in self._planes.values():
            ours = claimed(plane)
            for port in plane.hello.ports:
                if port not in ours:
                    plane.close(port)

    def flush(self) -> None:
        """Let all commands go now."""
        for plane in self._planes.values():
            plane.flush()

    def save(self, put: Callable[[str, bytes], None]) -> None:
        """Keep how far events are dealt with, and let the media processes forget those, now and then, once that is
        written."""
        if self._held is not None:
            return
        for name, plane in self._planes.items():
            known, instance = self._seen[name], plane.hello.instance
            if known.seen != plane.seen or known.instance != instance:
                now = self._seen[name] = MediaSaved(instance, plane.seen)
                put(name, msgspec.json.encode(now))
                if plane.seen - plane.acknowledged >= ACKNOWLEDGE_EVERY:
                    self._soon(plane.acknowledge)

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
            if name in self._retiring and not self.needed(plane):
                log.info("media process has retired", media=name)
            else:
                log.error("media process lost", media=name)
            self._lost(plane)

    async def _connect(self, name: str, path: Path, gone: asyncio.Event) -> PlaneClient:
        told: list[PlaneClient] = []  # the plane is needed in its own callback
        event = partial(self._happened, name, told)
        said = ""
        while True:
            plane = await self._reach(name, path, event, partial(self._gone, name, gone))
            try:
                if self._held is None:
                    plane.reset()  # its ports have no legs any more
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

    def _happened(self, name: str, told: list[PlaneClient], what: MediaEvent) -> None:
        if isinstance(what, Health):
            self._healthy(name, what)
        elif self._held is not None:
            self._held.append((name, what))
        elif told:
            self._event(told[0], what)

    async def _reach(
        self, name: str, path: Path, event: Callable[[MediaEvent], None], lost: Callable[[], None]
    ) -> PlaneClient:
        """Connect, however long it takes."""

        def after(hello: Hello) -> int:
            known = self._seen[name]
            return known.seen if known.instance == hello.instance else 0

        while True:
            try:
                return await connect(str(path), events=event, lost=lost, soon=self._soon, after=after)
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
                draining=name in self._retiring,
            )
        )
