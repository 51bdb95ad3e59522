"""A user agent under virtual time with phones, a plane without sound, and a log in memory."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_network
from typing import Any, TypeVar

from structlog.testing import capture_logs

from engine import overload
from engine.admission import Admission, Admitted
from engine.authentication import Authenticator
from engine.defence.gate import Gate, Policy
from engine.large import LargeRequests
from engine.line import ALLOW, LineSettings
from engine.media.plane import MediaEvent, Plane
from engine.outbox import Outbox
from engine.overload import Overload
from engine.registration import Registration
from engine.screening import Screening
from engine.session import App, LiveCall
from engine.sip.digest import Nonces
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request, Response
from engine.sip.registrar import Registrar
from engine.trunks.dns import Answer, DnsFailed
from engine.trunks.limits import Limits
from engine.trunks.location import Question, Records
from engine.trunks.model import Trunk
from engine.trunks.pool import TrunkPool
from engine.trunks.resolver import Resolver
from engine.ua import Parts, UaSettings, UserAgent
from events.types import CallArrived, CallEnded, Event, LegDialled, LegEnded, RecordingStarted, RecordingStopped
from kernel.clock import Clock
from kernel.ids import Ids
from tests.support.plane import FakePlane
from tests.support.softphone import Softphone
from tests.support.virtual import run

T = TypeVar("T")
E = TypeVar("E", bound=Event)

OURS = ("192.0.2.1", 5060)
DELAY = 0.01
"""Of every message, one way, in seconds."""
SETTINGS = UaSettings(line=LineSettings(domain="example.net"), music="hold.wav", ringback="ring.wav")
SETTLED = 70.0
"""After 64*T1, the linger and the media's last words: nothing may be left."""


class _Admission(Admission):
    def __init__(self, desks: dict[Flow, str], *rest: Any) -> None:
        super().__init__(*rest)
        self._desks = desks

    def admit(self, request: Request, flow: Flow, now: float) -> Admitted | Response:
        user = self._desks.get(flow)
        return (
            super().admit(request, flow, now)
            if user is None
            else Admitted("", user, user, "", request.request_uri.username)
        )


class World:
    """apps: dialled number -> application."""

    def __init__(self, *trunks: Trunk, secrets: Mapping[str, Mapping[str, str]] | None = None, **apps: App) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.apps = {name.removeprefix("n"): app for name, app in apps.items()}
        self.desks: dict[Flow, str] = {}
        """Flow of a phone that has proved its password -> its user."""
        self.takers = {"8001", "8002", "billing"}
        """Where callers may be transferred."""
        self.events: list[Event] = []
        self.plane: FakePlane = FakePlane()
        self.planes: list[FakePlane] = []
        """All that there are or were."""
        self.add_plane(self.plane)
        self.repaired: list[str] = []
        self.phones: dict[Flow, Softphone] = {}
        self.lose: Callable[[bytes], bool] = lambda data: False
        """Drop this datagram (either way)?"""
        self.unreachable: set[Flow] = set()
        self.tcp: dict[tuple[str, int], Flow] = {}
        """Who may be sent large requests by TCP, at least in our opinion."""
        self.mtu = 0
        self._sent_at = 0.0
        self.trunks = [Trunk(name="t", networks=(ip_network("192.0.2.0/24"),)), *trunks]
        self.limits = {it.name: Limits(it.max_calls, it.calls_per_second) for it in self.trunks}
        self.trunk_changes: list[tuple[str, bool]] = []
        self.pool = TrunkPool(
            self.trunks, self.limits, lambda *change: self.trunk_changes.append(change), Resolver(self._lookup)
        )
        self.hosts: dict[str, list[str]] = {}
        """Names that can be resolved."""
        self.records: dict[Question, Records] = {}
        """What DNS has of them beside."""
        ids = Ids(random.Random(1))
        clock = Clock(loop.time, 1_760_000_000.0)
        authenticator = Authenticator(Nonces(b"k" * 32), "example.net", secrets or {}, self.events.append, ids.token)
        admission = _Admission(self.desks, self.trunks, authenticator, frozenset({"example.net"}), "*", self.limits)
        policy = Policy(domains=frozenset({"example.net"}), methods=frozenset(ALLOW.split(", ")))
        self.overload = shedding = Overload(overload.Limits(), self.events.append)
        self.noted: list[bytes] = []
        """What a trace would see."""
        gate = Gate(policy, lambda flow: admission.trunk_of(flow) is not None, lambda flow: False, self.events.append)
        self.registrar = Registrar()
        self._parts = Parts(
            clock=clock,
            ids=ids,
            chance=lambda: 0.5,
            emit=self._emit,
            outbox=Outbox(self._commit, loop.call_soon),
            send=self._send,
            note=lambda data, flow, *, sent: self.noted.append(data),
            flow_to=self._flow_to,
            large=LargeRequests(self.tcp.get, lambda host: self.mtu),
            planes=self,
            registration=Registration(self.registrar, authenticator, self._emit, lambda aor, here: None),
            admission=admission,
            screening=Screening(gate, shedding, authenticator, admission.trunk_name),
            dialplan=self,
            trunks=self.pool,
            repair=self._repair,
        )
        self.ua = UserAgent(SETTINGS, self._parts)
        self._faults: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: self._faults.append(context))

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    def _commit(self) -> None:
        """What was told in this turn of the loop is written."""

    # --- Planes, Dialplan ---

    def choose(self) -> Plane | None:
        there = [plane for plane in self.planes if not plane.lost]
        return min(there, key=lambda plane: len(plane.ports), default=None)

    def route(self, dialled: str, phone: str) -> App | None:
        return self.apps.get(dialled)

    async def go_on(self, call: LiveCall) -> None:
        await call.hangup("restart")

    def takes(self, number: str) -> bool:
        return number in self.takers

    def internal(self, dialled: str) -> bool:
        return dialled.startswith("*")

    async def _lookup(self, question: Question) -> Answer:
        """SRV and NAPTR: whoever has addresses has none of them."""
        records = self.records.get(question)
        if records is None:
            host = question.name.split("_tcp.")[-1].split("_udp.")[-1]
            if host not in self.hosts:
                raise DnsFailed(f"no {host}")
            records = tuple(self.hosts[host]) if question.kind == "A" else ()
        return Answer(records, 60.0)

    def _flow_to(self, transport: str, remote: tuple[str, int], name: str = "") -> Flow | None:
        """Over TCP: the connection of a phone that is there already."""
        if transport == "udp":
            return Flow("udp", OURS, remote, 0)
        return next((flow for flow in self.phones if (flow.transport, flow.remote) == (transport, remote)), None)

    # --- who is there ---

    def phone(self, name: str, last: int, transport: str = "udp") -> Softphone:
        flow = Flow(transport, OURS, (f"192.0.2.{last}", 5060), last if transport == "tcp" else 0)
        phone = self.phones[flow] = Softphone(name, flow, self._from_phone)
        return phone

    def caller(self, body: bytes | None = None, **headers: str) -> Softphone:
        """A phone that has called 1001."""
        phone = self.phone("caller", 10)
        phone.call("1001", body, **headers)
        return phone

    def agent(self, name: str, last: int, aor: str = "8001", transport: str = "udp") -> Softphone:
        """A phone that is registered."""
        phone = self.phone(name, last, transport)
        self.register(phone, aor)
        return phone

    def register(self, phone: Softphone, aor: str) -> None:
        """At its flow, with its Contact."""
        name = phone.name
        items = [("Via", f"SIP/2.0/UDP x;branch=z9hG4bK{name}"), ("From", f"<sip:{aor}@example.net>;tag=1")]
        items += [("To", f"<sip:{aor}@example.net>"), ("Call-ID", name), ("CSeq", "1 REGISTER")]
        items += [("Contact", phone.contact or ""), ("Expires", "3600")]
        request = Request("REGISTER", "sip:example.net", Headers(items))
        assert self.registrar.register(request, aor, phone.flow, self.now())[0].status == 200

    def lose_connection(self, phone: Softphone) -> None:
        self.unreachable.add(phone.flow)
        self.ua.flow_lost(phone.flow)

    def add_plane(self, plane: FakePlane) -> FakePlane:
        """Another media process, or one in the place of a dead one."""
        self.planes.append(plane)
        plane.events = partial(self._media, plane)
        return plane

    def lose_media(self, plane: FakePlane | None = None) -> None:
        plane = plane or self.plane
        plane.lose()
        self.ua.media_lost(plane)

    async def _repair(self, path: str) -> float:
        await asyncio.sleep(0.01)
        self.repaired.append(path)
        return 1.5

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def call(self) -> LiveCall:
        """The only one."""
        (call,) = self.ua.calls.values()
        return call

    # --- the wire ---

    def _from_phone(self, data: bytes, flow: Flow) -> None:
        if flow not in self.unreachable and not self.lose(data):
            self._carry(self.ua.receive, data, flow)

    def _send(self, flow: Flow, data: bytes) -> bool:
        if flow in self.unreachable:
            return False
        phone = self.phones.get(flow)
        if phone is not None and not self.lose(data):
            self._carry(phone.receive, data)
        return True

    def _carry(self, receive: Callable[..., None], *what: object) -> None:
        """In the order of sending: the loop keeps none among timers of one moment."""
        self._sent_at = max(self.now(), self._sent_at + 1e-9)
        asyncio.get_running_loop().call_at(self._sent_at + DELAY, receive, *what)

    def _media(self, plane: Plane, event: MediaEvent) -> None:
        self.ua.media_event(plane, event)

    # --- what must hold ---

    async def over(self, caller: Softphone) -> None:
        """The caller hangs up, and `settle`."""
        caller.hang_up()
        await self.settle()

    async def settle(self, within: float = SETTLED) -> None:
        """Let everything end; then nothing may be left, and everything must have been told once."""
        await asyncio.sleep(within)
        self.ua.report()
        assert not self._faults, self._faults
        assert not any(plane.faults for plane in self.planes), [plane.faults for plane in self.planes]
        line = self.ua.line
        left = {
            "calls": self.ua.calls,
            "invites": self.ua.arrivals.callers,
            "dialogs": line.dialogs,
            "unacknowledged": line.unacknowledged,
            "ports": line.ports,
            "clients": line.clients,
            "lingering": line.lingering,
            "planes": [plane.ports for plane in self.planes if plane.ports],
            "transactions": {name: count for name, count in zip("sc", self.ua._layer.open, strict=True) if count},
            "taken": {name: it.calls for name, it in self.limits.items() if it.calls},
            "tasks": asyncio.all_tasks() - {asyncio.current_task()},
        }
        assert not any(left.values()), {name: value for name, value in left.items() if value}
        self._balanced()

    def _balanced(self) -> None:
        arrived = [event.call for event in self.of(CallArrived)]
        assert sorted(event.call for event in self.of(CallEnded)) == sorted(arrived)
        legs = [f"{call}-1" for call in arrived] + [event.leg for event in self.of(LegDialled)]
        assert sorted(event.leg for event in self.of(LegEnded)) == sorted(legs)
        began = sorted(event.path for event in self.of(RecordingStarted))
        assert sorted(event.path for event in self.of(RecordingStopped)) == began
        last = {}
        for index, event in enumerate(self.events):
            last[getattr(event, "call", "")] = index
        for call in arrived:
            assert isinstance(self.events[last[call]], CallEnded), self.events[last[call]]


def play(story: Callable[[], Awaitable[T]], *, errors: bool = False, exceptions: bool = False) -> T:
    """Run under virtual time. Nothing may be logged as an error, unless the story is about one."""

    async def main() -> T:
        return await story()

    with capture_logs() as logs:
        result = run(main())
    bad = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert errors or exceptions or not bad, bad
    assert exceptions or not any(entry.get("exc_info") for entry in bad), bad
    return result
