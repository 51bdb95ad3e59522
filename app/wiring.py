"""The control process put together: the one place that knows which part meets which."""

import asyncio
import os
import resource
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from acd.feature_codes import FeatureCodes
from acd.service import AcdService, Flows
from app import protection, staffing, trunking
from app.agent_commands import agent_commands
from app.control_socket import ControlServer, Refused
from app.dialplan import FEATURE_PREFIX, SiteDialplan
from app.draining import Draining
from app.housekeeping import DAY, Housekeeping, Keep
from app.identities import domains, secrets
from app.medias import Medias
from app.memory import Memory, resident_bytes
from app.past import Past, boot_id
from app.settings import Site
from app.sip_messages import SipMessages
from app.status import site_names, snapshot
from app.tls import tls_settings
from app.transports import Limits as TransportLimits
from app.transports import SipSocket, Transports, advertised
from app.writing import Writing
from engine.admission import Admission
from engine.authentication import Authenticator
from engine.call import Call
from engine.large import LargeRequests
from engine.line import ALLOW, LineSettings
from engine.media.plane import Codec, MediaEvent, Plane, PortId
from engine.media.protocol import PortState
from engine.media.wav import repair
from engine.outbox import Outbox
from engine.overload import Load
from engine.registration import Registration
from engine.restoring import Restored
from engine.screening import Screening
from engine.sip.digest import Nonces
from engine.sip.registrar import Registrar
from engine.transport.pool import CONNECTIONS_LIMIT, Times
from engine.transport.tls import TlsContexts
from engine.trunks.limits import Limits
from engine.trunks.pool import TrunkPool
from engine.ua import Parts, UaSettings, UserAgent
from events.closing import closing
from events.journal import Journal, JournalFull
from events.retention import Policy
from events.types import (
    ControlReported,
    ControlStarted,
    ControlStopped,
    Event,
)
from ivr.announce import QueueAnnouncer
from ivr.interpreter import Interpreter
from ivr.ports import Ports
from kernel.clock import Clock
from kernel.collector import Collector
from kernel.ids import CallId, Ids

log = structlog.get_logger()


REPORT_EVERY = 5.0
"""Seconds between two reports of SIP counts and of our own health."""
IDLE_WITHIN = 7200.0
"""Seconds for which a connection may be silent, at least; also as long as a registration may last."""
LAG_EVERY = 0.1
"""Seconds between two looks at how late the loop is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the command line of the control process says."""

    journal: Path
    control_socket: Path
    media: Mapping[str, Path]
    sip: Sequence[SipSocket]
    version: str
    retiring: Sequence[str] = ()
    """Names of media processes that get no new calls."""
    connections: int = CONNECTIONS_LIMIT
    """TCP, TLS and WebSocket at once."""


class Control:
    """All of a control process between its command line and its sockets. `start`, then `stop`; both once."""

    def __init__(self, site: Site, inputs: Inputs, clock: Clock, ids: Ids, chance: Callable[[], float]) -> None:
        loop = asyncio.get_running_loop()
        self._site = site
        self._inputs = inputs
        self._clock = clock
        self._journal = Journal.open(inputs.journal, clock, segment_bytes=int(site.main.journal.segment_mb * (1 << 20)))
        self._past = Past(inputs.journal, self._journal.save, boot_id(), waits=lambda: self._journal.waiting_bytes > 0)
        self.live = self._past.live
        self._put_aor, self._put_agent, self._put_media = map(self._past.savings.under, ("aor", "agent", "media"))
        self._journal.subscribe(self._past.follow)
        self._memory = Memory(site.main.sip.overload.memory_mb << 20, self._close_to_new_calls)
        self._writing = Writing(self._journal, clock, self._memory.waits)
        self._outbox = Outbox(self._commit, loop.call_soon)
        self._transports = Transports(
            TlsContexts(tls_settings(site.main.sip, site.root), clock.monotonic),
            TransportLimits(
                inputs.connections,
                Times(max(IDLE_WITHIN, site.main.sip.registration_max + 60), site.main.sip.keep_alive),
            ),
        )
        self._sip = SipMessages(clock, self._journal.subscribe)
        self._acd = AcdService(
            staffing.queues(site),
            staffing.agents(site),
            emit=self.emit,
            clock=clock,
            ids=ids,
            wake=self._outbox.wake,
            announcer=QueueAnnouncer(site.prompts, tuple(site.main.languages)),
            flows=Flows(
                {number: partial(self._run_flow, flow) for number, flow in site.main.numbers.items()},
                removed=partial(self._run_flow, ""),
            ),
        )
        self.medias = Medias(
            dict(inputs.media),
            site.prompts.all_paths(),
            emit=self.emit,
            event=self._media_event,
            lost=self._media_lost,
            retiring=inputs.retiring,
            soon=self._outbox.add,
            saved=self._past.savings.section("media"),
        )
        self._overload = protection.overload(site.main.sip.overload, self.emit)
        self._meter = protection.Meter(clock.monotonic())
        self._lateness = protection.MediaLateness()
        self._journal.subscribe(self._lateness.apply)
        self._ua = self._user_agent(clock, ids, chance)
        self.medias.needed = self._ua.needs
        self.draining = Draining(self._ua, self.emit, clock)
        self._server = ControlServer(
            inputs.control_socket,
            {
                "status": self._status,
                "health": self._health,
                "agent": agent_commands(self._acd),
                "blocked": self._blocked,
                "unblock": self._unblock,
                "sip_trace": self._sip.answer,
            },
            self.after_commit,
        )
        self._housekeeping = Housekeeping(
            _keep(site, inputs.journal), clock, self.live, self.emit, self._journal.trimmed
        )
        self._tidying: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._collector = Collector(clock.monotonic())
        self._lag_ms = 0.0

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when calls are answered."""
        await self.medias.start()
        self._outbox.hold()
        await self._go_on()
        await self._server.start()
        await self._transports.start(self._inputs.sip, self._ua.receive, self._ua.flow_lost)
        now, known = self._clock.wall(), self.live.trunks
        self._trunks.start(self._ua.line, {name: trunking.before(trunk, now) for name, trunk in known.items()})
        self._outbox.let_go()
        self._keeping = asyncio.create_task(self._past.keep(), name="snapshots")
        self._tidying = asyncio.create_task(self._housekeeping.run(), name="housekeeping")
        self._report()
        self._meter.busy(self._clock.monotonic())  # what the start took says nothing of the load of calls
        self._measure_lag(asyncio.get_running_loop().time())
        self._outbox.release()

    async def _go_on(self) -> None:
        """Take up what the process before this one saved, and close in the log what can't be taken up."""
        saved, now = self._past.savings.section, self._clock.monotonic()
        restored = self._read_back()
        going_on = restored.calls.keys()
        self.emit(
            ControlStarted(version=self._inputs.version, config=self._site.version, recovered_calls=len(restored.calls))
        )
        for event in closing(self.live, going_on, self._repair_recordings(going_on)):
            self.emit(event)
        agents = saved("agent")
        self._acd.resume(agents)
        self._acd.restore([record for name, record in self._past.agents.items() if name not in agents])
        self._registration.resume(saved("aor"), now)
        self.medias.deliver()
        await restored.begin()
        self._acd.resumed()
        restored.finish()
        self.medias.sweep(restored.claimed)

    def _read_back(self) -> Restored:
        saved, restored = self._past.savings.section, Restored(self._ua, self._known_plane)
        restored.read(saved("leg"), saved("call"))
        return restored

    def rehearse(self) -> int:
        """In place of `start`: what it does before anything leaves this process. Returns how many of the calls that
        were saved can't be gone on with. Nothing else may be called after it."""
        self._outbox.hold()
        saved, restored = self._past.savings.section, self._read_back()
        self._acd.resume(saved("agent"))
        self._registration.resume(saved("aor"), self._clock.monotonic())
        return len(saved("call").keys() - restored.calls.keys())

    def _known_plane(self, name: str) -> tuple[Plane, Mapping[PortId, PortState]] | None:
        plane = self.medias.named(name)
        return (plane, plane.hello.ports) if plane is not None and self.medias.same(name) else None

    async def stop(self, reason: str, within: float) -> None:
        """End all calls, tell the log, close everything. `within`: seconds for the calls' last words."""
        self._ua.draining = self._ua.closing = True
        self._acd.close()
        self._ua.hangup_all(self.draining.end(reason))
        try:
            async with asyncio.timeout(within):
                await self._ua.quiet.wait()
        except TimeoutError:
            log.warning("calls did not end in time", left=len(self._ua.calls))
        await self._trunks.stop()
        for task in (self._tidying, self._keeping):
            if task is not None:
                task.cancel()
        for timer in self._timers:
            timer.cancel()
        self._ua.report()
        await self._server.close()
        await self.medias.close()
        self.emit(ControlStopped(reason=reason))
        self._outbox.release()
        self._transports.close()
        self._close_journal()

    async def hand_over(self) -> None:
        """Leave everything as it is to the next process, which may be of other code: nobody is hung up on. This one is
        to exit then without another turn of its loop."""
        for timer in self._timers:
            timer.cancel()
        self._ua.report()
        self._outbox.release()
        for _ in range(2):  # sockets write at the end of a turn
            self.medias.flush()
            await asyncio.sleep(0)
        self._outbox.release()
        self._past.write()
        self._close_journal()

    def _close_journal(self) -> None:
        try:
            self._journal.close()
        except JournalFull as error:
            log.critical("the last events are lost: the disk takes none", error=str(error), **self._writing.health)

    def emit(self, event: Event) -> None:
        """Append to the journal; written before any effect of this loop iteration leaves."""
        self._writing.emit(event)
        self._ua.keeping.happened(event)
        self._outbox.wake()

    def after_commit(self, effect: Callable[..., object], *args: Any) -> None:
        """Call `effect(*args)` when what has happened so far is in the journal."""
        self._outbox.add(effect, *args)

    def _commit(self) -> None:
        """What is saved goes with the events that tell of it."""
        self._ua.keeping.save(self._past.savings.put)
        self._registration.save(self._put_aor)
        self._acd.roster.save(self._put_agent)
        self.medias.save(self._put_media)
        self._writing.commit()

    def _close_to_new_calls(self, closed: bool) -> None:
        self._overload.closed = "memory" if closed else ""

    # --- parts ----------------------------------------------------------------------------------------------------

    def _user_agent(self, clock: Clock, ids: Ids, chance: Callable[[], float]) -> UserAgent:
        site, main = self._site, self._site.main
        authenticator = Authenticator(Nonces(os.urandom(32)), main.domain, secrets(site), self.emit, ids.token)
        registrar = Registrar(min_expires=main.sip.registration_min, max_expires=main.sip.registration_max)
        self._registration = Registration(registrar, authenticator, self.emit, self._phone_changed)
        trunks = trunking.trunks(site)
        limits = {trunk.name: Limits(trunk.max_calls, trunk.calls_per_second) for trunk in trunks}
        self._trunks = TrunkPool(trunks, limits, self._acd.trunk_changed)
        admission = Admission(trunks, authenticator, domains(site), FEATURE_PREFIX, limits, self._transports.peer_names)
        self._gate = protection.gate(
            main.sip.defence, domains(site), ALLOW.split(", "), admission.trunk_name, self.emit
        )
        interpreter = self._interpreter = Interpreter(
            site.flows,
            Ports(
                emit=self.emit,
                queue=self._acd,
                clock=clock,
                prompts=site.prompts,
                calendars=site.calendars,
            ),
        )
        codes = FeatureCodes(self._acd, partial(_code_clips, site))
        return UserAgent(
            UaSettings(
                line=LineSettings(
                    domain=main.domain,
                    codecs=tuple(Codec(name) for name in main.media.codecs),
                    ptime_ms=main.media.ptime_ms,
                    rtp_timeout=main.media.rtp_timeout,
                    srtp=main.media.srtp,
                    media_host=main.media.host,
                    media_advertise=main.media.advertise,
                    sip_advertise=main.sip.advertise,
                    advertised=advertised(self._inputs.sip, [at.advertise for at in main.sip.listen]),
                    tcp=any(at.transport == "tcp" for at in self._inputs.sip),
                ),
                music=site.music(),
                ringback=site.ringback(),
                max_calls=main.sip.max_calls,
            ),
            Parts(
                clock=clock,
                ids=ids,
                chance=chance,
                emit=self.emit,
                outbox=self._outbox,
                send=self._transports.send,
                note=self._sip.trace.note,
                flow_to=self._transports.flow_to,
                alive=self._transports.alive,
                fault_of=self._transports.fault_of,
                large=LargeRequests(self._transports.tcp_for_large, self._transports.mtu),
                planes=self.medias,
                registration=self._registration,
                admission=admission,
                screening=Screening(self._gate, self._overload, authenticator, admission.trunk_name),
                dialplan=SiteDialplan(main.numbers, interpreter, codes, self._acd),
                trunks=self._trunks,
                repair=self._repair,
            ),
        )

    async def _run_flow(self, flow: str, call: Call) -> None:
        """Where an agent transferred a caller to its number."""
        await self._interpreter.run(flow, call)

    def _media_event(self, plane: Plane, event: MediaEvent) -> None:
        self._ua.media_event(plane, event)

    def _media_lost(self, plane: Plane) -> None:
        self._ua.media_lost(plane)

    def _repair_recordings(self, going_on: Container[CallId]) -> dict[str, float]:
        """Those that the log has begun and not ended, of calls that have: path → seconds."""
        begun = self.live.recording_now.items()
        return {path: self._repaired(path) for path, call in begun if call not in going_on}

    async def _repair(self, path: str) -> float:
        """Of a media process that died; others go on meanwhile."""
        return await asyncio.to_thread(self._repaired, path)

    def _repaired(self, path: str) -> float:
        """Its seconds; 0 when there is no such file."""
        try:
            return repair(self._site.recordings / path)
        except (OSError, ValueError) as error:
            log.warning("recording cannot be repaired", path=path, error=str(error))
            return 0.0

    def _phone_changed(self, aor: str, present: bool) -> None:
        if present:
            self._acd.phone_registered(aor)
        else:
            self._acd.phone_unregistered(aor)

    # --- commands -------------------------------------------------------------------------------------------------

    async def _status(self, _: Mapping[str, Any]) -> Any:
        return snapshot(self.live, site_names(self._site), self._clock.wall())

    async def _health(self, _: Mapping[str, Any]) -> Any:
        return {"journal": self._writing.health}

    async def _blocked(self, _: Mapping[str, Any]) -> Any:
        return [list(block) for block in self._gate.blocked(self._clock.monotonic())]

    async def _unblock(self, request: Mapping[str, Any]) -> Any:
        source = str(request["source"])
        lifted = self._gate.release(source)
        if not lifted:
            raise Refused(f"{source} is not blocked")
        return lifted

    # --- health ---------------------------------------------------------------------------------------------------

    def _measure_lag(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._lag_ms = max(self._lag_ms, (now - due) * 1000)
        self._overload.sample(
            Load(
                busy=self._meter.busy(self._clock.monotonic()),
                lag=max(0.0, now - due, self._ua.entrance.delay),
                transactions=self._ua.transactions,
                journal=self._journal.unsynced_ms / 1000,
                media=self._lateness.seconds,
                waiting=self._ua.entrance.waiting,
            ),
            self._clock.monotonic(),
        )
        self._later(LAG_EVERY, partial(self._measure_lag, now + LAG_EVERY))

    def _report(self) -> None:
        self._ua.report()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        memory = resident_bytes()
        self._memory.look(memory)
        self.emit(
            ControlReported(
                calls=len(self._ua.calls),
                loop_lag_ms=round(self._lag_ms, 2),
                journal_bytes=self._journal.bytes,
                unsynced_ms_max=round(self._journal.take_unsynced_ms_max(), 1),
                cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
                memory_bytes=memory,
                tasks=len(asyncio.all_tasks()),
                pressure=round(self._overload.take_worst(), 3),
                journal_free_bytes=self._housekeeping.free("journal"),
                recordings_free_bytes=self._housekeeping.free("recordings"),
            )
        )
        self._lag_ms = 0.0
        self._collector.look(self._clock.monotonic(), busy=bool(self._ua.calls))
        self._later(REPORT_EVERY, self._report)

    def _later(self, delay: float, do: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [timer for timer in self._timers if timer.when() > loop.time() and not timer.cancelled()]
        self._timers.append(loop.call_later(delay, do))


def _keep(site: Site, journal: Path) -> Keep:
    main = site.main
    return Keep(
        journal=journal,
        recordings=site.recordings,
        policy=Policy(seconds=main.journal.keep_days * DAY, size=main.journal.keep_mb << 20),
        recordings_days=main.recordings.keep_days,
        low_bytes=main.disk.low_mb << 20,
    )


def _code_clips(site: Site, prompt: str) -> Sequence[str]:
    """A feature code's confirmation, in each of the site's languages."""
    return site.prompts.spoken([prompt], site.main.languages)
