"""Every peer with every ability that it has (matrix.py), over a running hotline; and the table in docs/interop.md."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallArrived,
    CallEnded,
    CallHeld,
    CallOutcome,
    CallQueued,
    CallResumed,
    CallTransferred,
    DigitPressed,
    LegMediaReported,
    PhoneRegistered,
    PhoneUnregistered,
    TransferKind,
    TransferResult,
)
from kernel.ids import AgentName
from tests.interop import table
from tests.interop.hotline import DOMAIN, Finished, finished, heard, on_channel, talk
from tests.interop.matrix import BOTH, CASES, CHOSEN, MIDDLES, Case
from tests.support.authority import Authority
from tests.support.peers.middle import kamailio, sippy
from tests.support.peers.remote import ROOT, Options, Phone, phone
from tests.support.secure_site import FLOW
from tests.support.site import Site, serving
from tests.support.tones import PHONES as TONES

pytestmark = pytest.mark.interop

MENU, QUEUE = "1001", "1002"
AGENT, USER, PASSWORD = "someone", "8001", "secret-someone"
COLLEAGUE = "8002"
UNAUTHENTICATED = {"linphone": 4}
"""Packets dropped of one leg: linphone begins with STUN requests, which nothing proves."""
SECURE, ENCRYPTED = ("TLS", BOTH), ("SRTP", BOTH)
TALK = 1.2
"""Seconds: the tones must be heard for half of it at least."""


@dataclass(frozen=True, slots=True)
class Hotline:
    """On UDP and TLS."""

    site: Site
    authority: Authority
    tls: str
    """host:port"""


@contextlib.contextmanager
def _hotline(tmp_path_factory: pytest.TempPathFactory, srtp: str) -> Iterator[Hotline]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    pair = authority.issue("server", "127.0.0.1")

    def edit(config: dict[str, Any]) -> None:
        main = config["callwright"]
        main["sip"] |= {
            "listen": ["udp:127.0.0.1:0", "tls:127.0.0.1:0"],
            "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        }
        main["media"]["srtp"] = srtp
        main["numbers"][QUEUE] = "straight"
        skills = {"billing": 5, "zh": 10, "en": 10}
        config["agents"]["agents"] = {AGENT: {"display": AGENT, "user": USER, "password": PASSWORD, "skills": skills}}
        config["agents"]["agents"]["colleague"] = {"display": "Colleague", "user": COLLEAGUE, "password": PASSWORD}
        for queue in config["queues"]["queues"].values():
            queue |= {"wrap_up": 0, "ring_for": 10, "announce": {"first": 30, "every": 0}}

    def prepare(folder: Path) -> None:
        flows = folder / "ivr_flows"
        flows.mkdir()
        for flow in (ROOT / "ivr_flows").glob("*.yaml"):
            (flows / flow.name).write_text(flow.read_text())
        (flows / "straight.yaml").write_text(FLOW)

    with serving(edit, prepare=prepare) as site:
        tls = next(text.removeprefix("tls:") for text in site.listening if text.startswith("tls:"))
        yield Hotline(site, authority, tls)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotline]:
    with _hotline(tmp_path_factory, "forbidden") as running:
        yield running


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotline]:
    with _hotline(tmp_path_factory, "required") as running:
        yield running


@dataclass(slots=True)
class Bench:
    """One case: its phones, and their way to the hotline. through, direct: server of callers, of agents."""

    hotline: Hotline
    case: Case
    folder: Path
    through: str
    direct: str

    @property
    def site(self) -> Site:
        return self.hotline.site

    @property
    def kind(self) -> str:
        return "pjsua" if self.case.peer in MIDDLES else self.case.peer

    def options(self, user: str, tone: int, registrar: str, **change: Any) -> Options:
        sip_port, rtp_port = self.site.phone_ports()
        if self.case.ability in ENCRYPTED:
            change["srtp"] = "required"
        if self.case.ability in SECURE and self.case.peer not in MIDDLES:
            change |= {"transport": "tls", "authority": str(self.hotline.authority.certificate)}
        return Options(
            user=user,
            registrar=registrar,
            sip_port=sip_port,
            rtp_port=rtp_port,
            tone_hz=TONES[tone],
            capture=str(self.folder / f"{user}.wav"),
            **change,
        )

    def caller(self) -> contextlib.AbstractContextManager[Phone]:
        return phone(self.kind, self.options("13900000001", 0, self.through))

    @contextlib.contextmanager
    def agent(self) -> Iterator[Phone]:
        """Registered and ready; at the end logged out and unregistered."""
        before = self.site.last()
        with phone(self.kind, self.options(USER, 4, self.direct, password=PASSWORD, domain=DOMAIN)) as it:
            it.do("register")
            it.wait("registered")
            self.site.wait(PhoneRegistered, after=before)
            self.site.agent(AgentName(AGENT), "login")
            self.site.agent(AgentName(AGENT), "ready")
            try:
                yield it
            finally:
                self.site.agent(AgentName(AGENT), "logout")
                with contextlib.suppress(AssertionError):  # a phone that died said so already
                    it.do("unregister")

    @contextlib.contextmanager
    def colleague(self) -> Iterator[Phone]:
        """A registered phone that answers at once; the queues know nothing of it."""
        sip_port, rtp_port = self.site.phone_ports()
        options = Options(
            user=COLLEAGUE,
            registrar=self.site.registrar,
            sip_port=sip_port,
            rtp_port=rtp_port,
            tone_hz=TONES[6],
            capture=str(self.folder / "colleague.wav"),
            password=PASSWORD,
            domain=DOMAIN,
            auto_answer=True,
        )
        with phone("pjsua", options) as it:
            it.do("register")
            it.wait("registered")
            yield it

    @contextlib.contextmanager
    def talking(self) -> Iterator[tuple[Phone, Phone, int]]:
        """A caller and an agent in a call, and the number of the last event before it."""
        with self.agent() as two, self.caller() as one:
            before = self.site.last()
            one.do("call", to=QUEUE)
            two.wait("incoming")
            two.do("answer")
            two.wait("established")
            one.wait("established")
            yield one, two, before

    def hang_up(self, one: Phone, two: Phone, before: int) -> Finished:
        one.do("hangup")
        assert one.wait("closed")["by"] == "here"
        assert two.wait("closed")["by"] == "there"
        call = finished(self.site, before)
        assert (call.ended.outcome, call.ended.sip_status) == (CallOutcome.SERVED, 200)
        return call


def _register(bench: Bench) -> None:
    before = bench.site.last()
    options = bench.options(USER, 4, bench.through, password=PASSWORD, domain=DOMAIN)
    with phone(bench.kind, options) as it:
        it.do("register")
        it.wait("registered")
        assert bench.site.wait(PhoneRegistered, after=before).aor == USER
        it.do("unregister")
        it.wait("unregistered")
        assert bench.site.wait(PhoneUnregistered, after=before).why == "removed"


def _call(bench: Bench) -> None:
    """Both hear each other, the recording has each on its channel, the agent is ready again."""
    with bench.talking() as (one, two, before):
        talk(TALK)
        call = bench.hang_up(one, two, before)
        assert min(heard(one, two), heard(two, one)) > TALK / 2
        assert min(on_channel(call, "left", one), on_channel(call, "right", two)) > TALK / 2
        assert on_channel(call, "left", two) == on_channel(call, "right", one) == 0
        bench.site.wait(AgentStateChanged, after=before, state=AgentState.READY, previous=AgentState.ON_CALL)


def _keys(bench: Bench) -> None:
    """Each key once, in order, into a prompt and after it."""
    with bench.caller() as one:
        before = bench.site.last()
        one.do("call", to=MENU)
        one.wait("established")
        talk(0.5)
        one.do("dtmf", digits="1")
        bench.site.wait(CallQueued, after=before, queue="billing")
        one.do("hangup")
        one.wait("closed")
    pressed = [r.event.digit for r in bench.site.events(before) if isinstance(r.event, DigitPressed)]
    assert pressed == ["1"]


def _hold(bench: Bench) -> None:
    """From either side; the talk goes on after it."""
    with bench.talking() as (one, two, before):
        talk(0.5)
        for it in (two, one):
            since = bench.site.last()
            it.do("hold")
            it.wait("held")
            bench.site.wait(CallHeld, after=since)
            it.do("resume")
            it.wait("resumed")
            bench.site.wait(CallResumed, after=since)
        talk(TALK)
        bench.hang_up(one, two, before)
        assert min(heard(one, two), heard(two, one)) > TALK / 2


def _secure_signalling(bench: Bench) -> None:
    begun = bench.site.last()
    with bench.talking() as (one, two, before):
        talk(TALK)
        bench.hang_up(one, two, before)
        assert min(heard(one, two), heard(two, one)) > TALK / 2
    registered = bench.site.wait(PhoneRegistered, after=begun, aor=USER)
    assert registered.source.startswith("tls:")


def _secure_both(bench: Bench) -> None:
    begun = bench.site.last()
    _secure_media(bench)
    registered = bench.site.wait(PhoneRegistered, after=begun, aor=USER)
    arrived = bench.site.wait(CallArrived, after=begun)
    assert [source.partition(":")[0] for source in (registered.source, arrived.source)] == ["tls", "tls"]


def _secure_media(bench: Bench) -> None:
    with bench.talking() as (one, two, before):
        talk(TALK)
        bench.hang_up(one, two, before)
        assert min(heard(one, two), heard(two, one)) > TALK / 2
    legs = [r.event for r in bench.site.events(before) if isinstance(r.event, LegMediaReported)]
    assert [bool(leg.srtp) for leg in legs] == [True, True]
    assert all(leg.unauthenticated <= UNAUTHENTICATED.get(bench.case.peer, 0) for leg in legs)


def _handed_over(bench: Bench, one: Phone, three: Phone, before: int, kind: TransferKind) -> None:
    """The caller has the colleague, for a while, and hangs up."""
    done = bench.site.wait(CallTransferred, after=before)
    assert (done.kind, done.result) == (kind, TransferResult.COMPLETED)
    talk(TALK)
    one.do("hangup")
    assert one.wait("closed")["by"] == "here"
    assert three.wait("closed")["by"] == "there"
    assert min(heard(one, three), heard(three, one)) > TALK / 2
    assert bench.site.wait(CallEnded, after=before, call=done.call).outcome is CallOutcome.SERVED


def _blind_transfer(bench: Bench) -> None:
    with bench.colleague() as three, bench.talking() as (one, two, before):
        talk(0.5)
        two.do("transfer", to=COLLEAGUE)
        three.wait("established")
        _handed_over(bench, one, three, before, TransferKind.BLIND)


def _attended_transfer(bench: Bench) -> None:
    """The agent holds the caller, calls the colleague, talks with him, and gives him the caller."""
    with bench.colleague() as three, bench.talking() as (one, two, before):
        talk(0.5)
        two.do("hold")
        two.wait("held")
        two.do("consult", to=COLLEAGUE)
        three.wait("established")
        two.wait("established")
        talk(TALK)
        two.do("join")
        _handed_over(bench, one, three, before, TransferKind.ATTENDED)


TRIED: dict[str, Callable[[Bench], None]] = {
    "register": _register,
    "call": _call,
    "keys": _keys,
    "hold": _hold,
    "blind transfer": _blind_transfer,
    "attended transfer": _attended_transfer,
    "TLS": _secure_signalling,
    "SRTP": _secure_media,
    BOTH: _secure_both,
}


@contextlib.contextmanager
def _bench(hotline: Hotline, case: Case, folder: Path) -> Iterator[Bench]:
    secure = case.ability in SECURE
    server = hotline.tls if secure else hotline.site.registrar
    if case.peer == "kamailio":
        pair = hotline.authority.issue("proxy", "127.0.0.1") if secure else None
        with kamailio(folder, server, pair=pair, authority=hotline.authority.certificate) as address:
            yield Bench(hotline, case, folder, address, address)
    elif case.peer == "sippy":
        with sippy(folder, server) as address:
            yield Bench(hotline, case, folder, address, server)
    else:
        yield Bench(hotline, case, folder, server, server)


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_peer(
    request: pytest.FixtureRequest, tmp_path: Path, case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("case", str(case))
    hotline = request.getfixturevalue("encrypted" if case.ability in ENCRYPTED else "plain")
    with _bench(hotline, case, tmp_path) as bench:
        TRIED[case.ability](bench)


def test_the_table_in_the_docs_has_these_cases() -> None:
    """Made by `python -m tests.interop.table`; peers, columns, reasons and cases are those of matrix.py."""
    text = table.DOCUMENT.read_text()
    marks = table.marks(text)
    assert set(marks) == {str(case) for case in CASES}
    assert table.render(marks) == text
