"""`callwright demo`: a site of its own with the example's flows, queues and agents, and people on the phone.

supervisor and its processes (app/demo/hotline.py)   the hotline itself, as `callwright serve` runs it
callers and agents (people.py) on phones (phone.py)   real SIP and RTP over loopback, in this process
view (view.py)                                        a fold of the hotline's journal (feed.py)
"""

import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import uvloop
from rich.console import Console

from app.demo.feed import Feed
from app.demo.hotline import Addresses, Hotline
from app.demo.people import Agent, Callers, Line, Manner, Person, Room, Unavailable
from app.demo.phone import Account, Phone, Refused
from app.demo.site import DemoSite, Desk, prepare
from app.demo.stream import Studio, Voice
from app.demo.view import Heard, Scene, show, summary, tell
from app.demo.voice import murmur
from app.plan import CannotStart
from app.settings import ConfigErrors, load
from app.status import site_names
from engine.media.plane import Codec
from engine.sip.headers import NameAddr
from engine.sip.uri import sip_uri
from kernel.clock import system_clock

PITCHES: Final = (95.0, 115.0, 140.0, 170.0, 200.0, 225.0)
"""Of the callers' voices; a person gets the nearest."""
AGENT_PITCH: Final = (130.0, 210.0)
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    site: Path
    folder: Path | None
    """Where everything is written and left; None: a temporary one, removed at the end."""
    callers_per_minute: float
    agents: int | None
    """None: all of the site."""
    seconds: float | None
    """Stop by itself."""
    plain: bool
    seed: int | None


class Town:
    """The simulated people and their phones."""

    def __init__(self, site: DemoSite, addresses: Addresses, options: Options, chance: random.Random) -> None:
        self.studio = Studio()
        self._site = site
        self._room = Room()
        self._voices = {pitch: Voice(murmur(chance, pitch)) for pitch in PITCHES}
        self._trunk = Phone(Account(site.domain), addresses.sip, self.studio, chance)
        self._callers = Callers(self._place, self._room, _seeded(chance), options.callers_per_minute)
        self._staff = [self._agent(desk, addresses, chance) for desk in site.desks]

    def _agent(self, desk: Desk, addresses: Addresses, chance: random.Random) -> tuple[Phone, Agent]:
        phone = Phone(Account(self._site.domain, desk.user, desk.password), addresses.sip, self.studio, chance)
        phone.voice = Voice(murmur(chance, chance.uniform(*AGENT_PITCH)))

        async def dial(code: str) -> Line:
            try:
                return await phone.call(code)
            except Refused as refused:
                raise Unavailable(str(refused)) from refused

        agent = Agent(dial, self._room, _seeded(chance), Manner())
        phone.on_ring = agent.rings
        return phone, agent

    async def _place(self, person: Person) -> Line:
        voice = self._voices[min(PITCHES, key=lambda pitch: abs(pitch - person.pitch))]
        sender = NameAddr(person.name, sip_uri(person.number, self._trunk.local[0]))
        codecs = (Codec.PCMU,) if int(person.number) % 3 == 0 else (Codec.PCMA, Codec.PCMU)
        try:
            return await self._trunk.call(self._site.numbers[0], sender, voice, codecs)
        except Refused as refused:
            raise Unavailable(str(refused)) from refused

    def heard(self) -> Heard:
        return Heard(self.studio.open, self.studio.received, self.studio.lost)

    async def open(self) -> None:
        """Sockets and registrations; agents log in when they work. Raises Refused."""
        await self._trunk.open()
        for phone, _ in self._staff:
            await phone.open()
            await phone.register()

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """All that goes on for ever."""
        phones = [part for phone, agent in self._staff for part in (phone.keep_registered(), agent.work())]
        return [self.studio.run(), self._callers.run(), *phones]

    async def close(self) -> None:
        """Everybody hangs up and signs off."""
        await asyncio.gather(self._trunk.close(), *(phone.close() for phone, _ in self._staff))


def _seeded(chance: random.Random) -> random.Random:
    """A source of its own for each, so that who calls does not depend on how fast the machine is."""
    return random.Random(chance.getrandbits(64))


class Stop:
    """Ctrl-C and its like. The first ends the demo in order, the second does not wait for the hotline."""

    def __init__(self, hotline: Hotline) -> None:
        self.wanted = asyncio.Event()
        self._hotline = hotline
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self.wanted.is_set():
            self._hotline.kill()
        self.wanted.set()


async def run(site: DemoSite, options: Options, out: TextIO) -> int:
    """One demo, from start to clean end. Returns the exit status. Raises CannotStart, Refused."""
    hotline = Hotline(site.folder)
    stop = Stop(hotline)
    out.write(f"Starting {site.name} in {site.folder} …\n")
    out.flush()
    feed = Feed(site.folder / "var" / "journal", system_clock().wall)
    town: Town | None = None
    scene: Scene | None = None
    try:
        await hotline.start()
        addresses = await _unless(stop.wanted, hotline.ready())
        if addresses is not None:
            town = Town(site, addresses, options, random.Random(options.seed))
            await town.open()
            scene = _scene(site, addresses, feed.wall())
            await _live(scene, town, feed, hotline, stop, options, out)
    finally:
        try:
            if town is not None:
                await town.close()
        finally:
            status = await hotline.stop()
        feed.close()
    if scene is not None and town is not None:
        out.write(summary(scene, feed, town.heard()) + "\n")
    clean = status in (0, -signal.SIGTERM)  # the latter: stopped before it could have said a word
    return 0 if clean else EXIT_FAILED


async def _unless(stop: asyncio.Event, ready: Coroutine[Any, Any, Addresses]) -> Addresses | None:
    """The result, or None when stopped before it was there."""
    waiting, stopping = asyncio.create_task(ready), asyncio.create_task(stop.wait())
    await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    return None


async def _live(
    scene: Scene, town: Town, feed: Feed, hotline: Hotline, stop: Stop, options: Options, out: TextIO
) -> None:
    """Until it is to stop. What fails ends the demo, in its own words."""
    view = tell(scene, feed, out) if options.plain else show(scene, feed, town.heard, Console(file=out))
    if options.plain:
        out.write(_words(scene))
        out.flush()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in (feed.run(), hotline.ended(), view, *town.work())]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.seconds):
                    await stop.wanted.wait()
            for task in tasks:
                task.cancel()
    except* (CannotStart, Refused) as failed:
        raise failed.exceptions[0] from None
    finally:
        out.write("Stopping …\n")
        out.flush()


def _scene(site: DemoSite, addresses: Addresses, now: float) -> Scene:
    copied = load(site.folder)
    played = {desk.name for desk in site.desks}
    spare = next((name for name in copied.agents if name not in played and copied.agents[name].password), None)
    host, port = addresses.sip
    visitor = ""
    if spare is not None:
        password = copied.agents[spare].password
        assert password is not None
        visitor = (
            f"register {copied.agents[spare].user} with password {password.get_secret_value()},"
            f" domain {site.domain}, at {host}:{port}; then dial *13"
        )
    names = site_names(copied)
    return Scene(names=names, sip=f"{host}:{port}", http=addresses.http, visitor=visitor, began=now)


def _words(scene: Scene) -> str:
    lines = [
        f"{scene.names.name} is alive.",
        f"  Status page   {scene.http}/",
        f"  Metrics       {scene.http}/metrics",
        f"  Call it       sip:{scene.names.numbers[0]}@{scene.sip} (UDP)",
    ]
    if scene.visitor:
        lines.append(f"  Be an agent   {scene.visitor}")
    return "\n".join([*lines, ""]) + "\n"


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The given one, which must be new or empty, or one that is gone afterwards. Raises CannotStart."""
    if given is None:
        temporary = Path(tempfile.mkdtemp(prefix="callwright-demo-"))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return
    folder = given.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotStart(f"{folder} is not an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def demo(options: Options, out: TextIO = sys.stdout) -> int:
    """Run it; returns the exit status. Errors are one sentence on standard error."""
    try:
        with _folder(options.folder) as folder:
            site = prepare(options.site, folder, options.agents)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(run(site, options, out))
    except KeyboardInterrupt:
        return 0  # before there was anything to stop
    except ConfigErrors as errors:
        sys.stderr.write(f"{errors}\n")
        return EXIT_CONFIG
    except (CannotStart, Refused) as error:
        sys.stderr.write(f"callwright: {error}\n")
        return EXIT_FAILED
