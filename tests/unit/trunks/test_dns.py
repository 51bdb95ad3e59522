"""Questions to a real DNS server on the loopback: good ones, lying ones, silent ones; and what a resolver makes of them
as time goes by."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.rcode
import pytest
import uvloop

from engine.trunks import dns as module
from engine.trunks.dns import Answer, DnsFailed, DnsLookup
from engine.trunks.location import Naptr, Question, Records, Srv
from engine.trunks.resolver import AGAIN_SOON, Found, Lost, Resolver
from engine.trunks.targets import Target
from tests.support.name_server import HOST, NameServer, name_server
from tests.support.virtual import run

OP = Question("A", "op.example")
TARGET = Target("op.example", 0, "")
NO_HOSTS = Path("/nonexistent")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_WITHIN", 0.5)


def on_loop(scene: Callable[[NameServer, DnsLookup], Awaitable[None]], hosts: Path = NO_HOSTS) -> None:
    async def main() -> None:
        async with name_server() as server, asyncio.timeout(10):
            await scene(server, DnsLookup([(HOST, server.port)], hosts))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def zone(server: NameServer) -> None:
    server.zone = {
        ("op.example.", "NAPTR"): ['10 20 "s" "SIP+D2T" "" _sip._tcp.op.example.'],
        ("_sip._tcp.op.example.", "SRV"): ["0 5 5070 a.op.example.", "1 0 5060 ."],
        ("a.op.example.", "A"): ["192.0.2.1", "192.0.2.2"],
        ("a.op.example.", "AAAA"): ["2001:db8::1"],
        ("alias.example.", "CNAME"): ["a.op.example."],
        ("round.example.", "CNAME"): ["about.example."],
        ("about.example.", "CNAME"): ["round.example."],
    }


@pytest.mark.parametrize(
    ("question", "records"),
    [
        (Question("NAPTR", "op.example"), (Naptr(10, 20, "s", "SIP+D2T", "", "_sip._tcp.op.example"),)),
        (Question("SRV", "_sip._tcp.op.example"), (Srv(0, 5, 5070, "a.op.example"), Srv(1, 0, 5060, ""))),
        (Question("A", "a.op.example"), ("192.0.2.1", "192.0.2.2")),
        (Question("AAAA", "a.op.example"), ("2001:db8::1",)),
        (Question("A", "alias.example"), ("192.0.2.1", "192.0.2.2")),
        (Question("A", "nobody.example"), ()),
        (Question("SRV", "op.example"), ()),
    ],
)
@pytest.mark.parametrize("truncated", [False, True])
def test_every_kind_of_record(question: Question, records: Records, truncated: bool) -> None:
    """By UDP, and by TCP when UDP says that there is more; time to live as given, that of nothing from the SOA."""

    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        zone(server)
        server.truncated = truncated
        answer = await lookup(question)
        assert set(answer.records) == set(records)
        assert answer.ttl == (60.0 if records else 30.0)

    on_loop(scene)


@pytest.mark.parametrize(("given", "taken"), [(0, 5.0), (86_400, 3600.0)])
def test_times_to_live_are_bounded(given: int, taken: float) -> None:
    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        zone(server)
        server.ttl, server.negative_ttl = given, given
        assert (await lookup(Question("A", "a.op.example"))).ttl == taken
        assert (await lookup(OP._replace(name="x.example"))).ttl == min(taken, 300.0)

    on_loop(scene)


def _other_id(answer: bytes) -> bytes:
    return bytes([answer[0] ^ 0xFF]) + answer[1:]


@pytest.mark.parametrize(
    "lie",
    [
        lambda answer: [_other_id(answer)],
        lambda answer: [answer[:20]],
        lambda answer: [b"\xff" * 60_000],
        lambda answer: [answer[:2] + b"\x01\x00" + answer[4:]],  # a question in place of an answer
        lambda answer: [answer.replace(b"\x01a\x02op", b"\x01b\x02op")],  # to another question
        lambda answer: [],
    ],
)
def test_what_is_no_answer_to_our_question_is_none(lie: Callable[[bytes], list[bytes]]) -> None:
    """And a good answer behind it is still taken."""

    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        zone(server)
        server.mangle = lie
        with pytest.raises(DnsFailed, match=r"A a\.op\.example: "):
            await lookup(Question("A", "a.op.example"))
        server.mangle = lambda answer: [*lie(answer), answer]
        assert len((await lookup(Question("A", "a.op.example"))).records) == 2

    on_loop(scene)


def test_aliases_without_end_a_refusal_and_silence() -> None:
    """Faults; the loop goes on meanwhile."""

    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        zone(server)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        for change in ({}, {"rcode": dns.rcode.SERVFAIL}, {"rcode": None, "silent": True}):
            for name, value in change.items():
                setattr(server, name, value)
            with pytest.raises(DnsFailed):
                await lookup(Question("A", "round.example"))
        ticking.cancel()
        assert ticks > 10

    on_loop(scene)


def test_the_hosts_file_goes_first(tmp_path: Path) -> None:
    """A host that is there has no service records; DNS is not asked. A change of the file counts at once."""

    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        zone(server)
        assert (await lookup(Question("A", "sbc.example"))).records == ("192.0.2.77",)
        assert (await lookup(Question("AAAA", "sbc.example"))).records == ("2001:db8::77",)
        assert (await lookup(Question("SRV", "_sip._udp.sbc.example"))).records == ()
        assert server.asked == []
        hosts.write_text("192.0.2.78 sbc.example # moved\n")
        assert (await lookup(Question("A", "sbc.example"))).records == ("192.0.2.78",)

    hosts = tmp_path / "hosts"
    hosts.write_text("# none\n\nnonsense sbc.example\n192.0.2.77 SBC.example sbc\n2001:db8::77 sbc.example\n")
    on_loop(scene, hosts)


def test_nothing_that_an_administrator_may_write_is_an_error() -> None:
    async def scene(server: NameServer, lookup: DnsLookup) -> None:
        for name in ("a..b", "x" * 70 + ".example", ".".join(["long"] * 60)):
            with pytest.raises(DnsFailed):
                await lookup(Question("A", name))

    on_loop(scene)


# --- as time goes by ------------------------------------------------------------------------------------------------


class Zone:
    """Answers at once, or fails; counts what it was asked."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Records] = {}
        self.fails: set[str] = set()
        """Kinds of questions without an answer."""
        self.asked: list[str] = []
        self.told: list[Found | Lost] = []
        self.ttl = 60.0

    async def lookup(self, question: Question) -> Answer:
        self.asked.append(question.kind)
        if question.kind in self.fails:
            raise DnsFailed("nobody answers")
        records = self.records.get(question, ())
        return Answer(records, self.ttl if records else 30.0)

    def serve(self, *addresses: str) -> None:
        self.records = {
            ("SRV", "_sip._udp.op.example"): (Srv(0, 1, 5060, "a.op.example"),),
            ("A", "a.op.example"): addresses,
        }


def over_time(story: Callable[[Zone, Resolver], Awaitable[None]]) -> None:
    async def main() -> None:
        world = Zone()
        await story(world, Resolver(world.lookup))

    run(main())


def shown(resolver: Resolver) -> list[str]:
    return [str(place) for place in resolver.places(TARGET)]


def test_answers_and_their_absence_are_asked_for_again_when_their_time_is_over() -> None:
    async def story(world: Zone, resolver: Resolver) -> None:
        world.serve("192.0.2.1")
        now = asyncio.get_running_loop().time
        due = await resolver.refresh([TARGET, TARGET], world.told.append)
        assert due == now() + 30.0  # the NAPTR record that is not there is the first to be looked for again
        assert world.asked == ["NAPTR", "SRV", "SRV", "SRV", "A", "AAAA"]
        assert world.told == [Found(TARGET, ["udp:192.0.2.1:5060"], 0.0)]
        world.asked.clear()
        world.serve("192.0.2.2")
        await asyncio.sleep(29)
        await resolver.refresh([TARGET], world.told.append)
        assert world.asked == []
        await asyncio.sleep(1)
        await resolver.refresh([TARGET], world.told.append)
        assert sorted(world.asked) == ["AAAA", "NAPTR", "SRV", "SRV"]  # SRV of tcp and tls; udp's and A live on
        assert shown(resolver) == ["udp:192.0.2.1:5060"]
        await asyncio.sleep(30)
        await resolver.refresh([TARGET], world.told.append)
        assert shown(resolver) == ["udp:192.0.2.2:5060"]
        assert len(world.told) == 1

    over_time(story)


@pytest.mark.parametrize("fails", [{"NAPTR", "SRV", "A", "AAAA"}, {"SRV"}, {"A", "AAAA"}])
def test_what_was_known_outlives_the_name_servers(fails: set[str]) -> None:
    """Told once when it begins, once when it is over."""

    async def story(world: Zone, resolver: Resolver) -> None:
        world.serve("192.0.2.1")
        now = asyncio.get_running_loop().time
        await resolver.refresh([TARGET], world.told.append)
        world.fails = fails
        world.serve("192.0.2.2")
        world.records["A", "op.example"] = ("192.0.2.66",)
        await asyncio.sleep(100)
        for _ in range(3):
            assert await resolver.refresh([TARGET], world.told.append) == now() + AGAIN_SOON
            assert shown(resolver) == ["udp:192.0.2.1:5060"]
            await asyncio.sleep(AGAIN_SOON)
        world.fails = set()
        await asyncio.sleep(100)
        await resolver.refresh([TARGET], world.told.append)
        assert shown(resolver) == ["udp:192.0.2.2:5060"]
        assert [type(what) for what in world.told] == [Found, Lost, Found]
        assert world.told[1] == Lost(TARGET, "nobody answers", ["udp:192.0.2.1:5060"])
        assert world.told[2][2] == pytest.approx(115.0)

    over_time(story)


def test_a_name_that_is_suddenly_gone_keeps_its_places() -> None:
    """NXDOMAIN for an operator is a mishap, or a liar."""

    async def story(world: Zone, resolver: Resolver) -> None:
        world.serve("192.0.2.1")
        await resolver.refresh([TARGET], world.told.append)
        world.records.clear()
        await asyncio.sleep(100)
        await resolver.refresh([TARGET], world.told.append)
        assert shown(resolver) == ["udp:192.0.2.1:5060"]
        assert world.told[1] == Lost(TARGET, "no address", ["udp:192.0.2.1:5060"])

    over_time(story)


def test_at_the_start_part_of_an_answer_is_better_than_none() -> None:
    """A name server that knows no NAPTR; and one that says nothing at all."""

    async def story(world: Zone, resolver: Resolver) -> None:
        world.serve("192.0.2.1")
        world.fails = {"NAPTR"}
        await resolver.refresh([TARGET], world.told.append)
        assert shown(resolver) == ["udp:192.0.2.1:5060"]
        assert world.told == [Lost(TARGET, "nobody answers", ["udp:192.0.2.1:5060"])]
        other = Resolver(world.lookup)
        world.fails = {"NAPTR", "SRV", "A", "AAAA"}
        await other.refresh([TARGET], world.told.append)
        assert shown(other) == []
        assert world.told[1] == Lost(TARGET, "nobody answers", [])

    over_time(story)


def test_one_family_of_addresses_is_enough() -> None:
    async def story(world: Zone, resolver: Resolver) -> None:
        world.serve("192.0.2.1")
        world.fails = {"AAAA"}
        await resolver.refresh([TARGET], world.told.append)
        assert [type(what) for what in world.told] == [Found]

    over_time(story)
