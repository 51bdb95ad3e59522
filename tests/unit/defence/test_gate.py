"""The rules for trunks, proven flows and strangers, each with the attack that it is for."""

from dataclasses import replace

from engine.defence.gate import FLOOD_POINTS, POINTS, Gate, Policy
from engine.defence.limits import Rate
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.parse import parse
from events.types import Event, SourceBlocked, SourceUnblocked

POLICY = Policy(
    domains=frozenset({"hotline.example"}),
    methods=frozenset({"INVITE", "REGISTER", "OPTIONS", "BYE"}),
    user_failures=5,
    source_failures=15,
)
DATA = b"REGISTER sip:hotline.example SIP/2.0\r\n\r\n"


def flow(host: str = "203.0.113.5", port: int = 5060, connection: int = 0) -> Flow:
    return Flow("tcp" if connection else "udp", ("192.0.2.1", 5060), (host, port), connection)


def request(method: str = "REGISTER", uri: str = "sip:hotline.example") -> Request:
    text = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    message = parse(text.encode())
    assert isinstance(message, Request)
    return message


class Rig:
    def __init__(self, policy: Policy = POLICY) -> None:
        self.events: list[Event] = []
        self.gate = Gate(
            policy,
            lambda flow: flow.remote[0].startswith("10."),
            lambda flow: flow.remote[0] == "192.0.2.250",
            self.events.append,
        )

    @property
    def blocked(self) -> list[tuple[str, str, str]]:
        return [(e.source, e.user, e.why) for e in self.events if isinstance(e, SourceBlocked)]


def test_brute_force_of_one_user_is_stopped_at_the_fifth_try() -> None:
    rig, tries = Rig(), 0
    for n in range(1000):
        if rig.gate.opens(DATA, flow(), n * 0.1) and rig.gate.admits(request(), "8001", flow(), n * 0.1):
            tries += 1
            rig.gate.failed(flow(), "8001", n * 0.1)
    assert tries == 5 + 5  # one more block's worth after the first minute: 100 s of trying
    assert rig.blocked == [("203.0.113.5", "8001", "password")] * 2
    assert [e.seconds for e in rig.events if isinstance(e, SourceBlocked)] == [60.0, 120.0]


def test_password_spraying_over_users_is_stopped_for_the_source() -> None:
    rig, tries = Rig(), 0
    for n in range(1000):
        user = str(8000 + n)
        if rig.gate.opens(DATA, flow(), n * 0.01) and rig.gate.admits(request(), user, flow(), n * 0.01):
            tries += 1
            rig.gate.failed(flow(), user, n * 0.01)
    assert tries == 15
    assert ("203.0.113.5", "", "password") in rig.blocked


def test_the_real_agent_elsewhere_and_at_the_same_nat_goes_on() -> None:
    rig = Rig()
    phone = flow(port=40_001)
    rig.gate.passed(phone, 0.0)
    for n in range(20):
        rig.gate.failed(flow(port=50_000 + n), str(n), 1.0)
        rig.gate.failed(flow(port=50_000 + n), "8001", 1.0)
    assert not rig.gate.opens(DATA, flow(), 2.0)
    for at in (phone, flow(host="198.51.100.7")):
        assert rig.gate.opens(DATA, at, 2.0)
        assert rig.gate.admits(request(), "8001", at, 2.0)


def test_a_proven_phone_that_guesses_is_stopped_alone() -> None:
    rig = Rig()
    phone, colleague = flow(port=40_001), flow(port=40_002)
    for at in (phone, colleague):
        rig.gate.passed(at, 0.0)
    for _ in range(5):
        rig.gate.failed(phone, "8002", 1.0)
    assert not rig.gate.admits(request(), "8002", phone, 2.0)
    assert rig.gate.admits(request(), "8001", phone, 2.0)
    assert rig.gate.admits(request(), "8002", colleague, 2.0)
    assert rig.blocked == [("udp:203.0.113.5:40001", "8002", "password")]


def test_guessing_from_a_trunks_network_stops_the_guesses_not_the_calls() -> None:
    rig, trunk = Rig(), flow("10.0.0.1")
    for n in range(15):
        rig.gate.failed(trunk, str(n), 1.0)
    assert not rig.gate.admits(request(), "8001", trunk, 2.0)
    assert not rig.gate.admits(request(), None, trunk, 2.0)
    assert rig.gate.admits(request("INVITE", "sip:1001@hotline.example"), None, trunk, 2.0)
    assert rig.gate.opens(DATA, trunk, 2.0)


def test_known_and_unknown_users_are_treated_alike() -> None:
    """Nothing here depends on whether a user exists: there is no way to ask."""
    for method in ("INVITE", "REGISTER"):
        answers = []
        for user in ("8001", "no-such-user"):
            rig = Rig()
            answers.append([rig.gate.admits(request(method, f"sip:{user}@hotline.example"), user, flow(), t * 0.1)
                            for t in range(30)])  # fmt: skip
        assert answers[0] == answers[1]


def test_scanner_is_blocked_at_once_and_told() -> None:
    rig = Rig()
    assert not rig.gate.opens(DATA[:-2] + b"User-Agent: friendly-scanner\r\n\r\n", flow(), 0.0)
    assert not rig.gate.opens(DATA, flow(), 1.0)
    assert rig.blocked == [("203.0.113.5", "", "scanner")]
    rig.gate.sweep(61.0)
    assert rig.events[-1] == SourceUnblocked(source="203.0.113.5", user="", why="expired", dropped=1)
    assert rig.gate.opens(DATA, flow(), 61.0)


def test_a_trunks_own_tools_are_no_scanners() -> None:
    assert Rig().gate.opens(DATA[:-2] + b"User-Agent: sipsak\r\n\r\n", flow("10.0.0.1"), 0.0)


def test_strangers_may_not_probe() -> None:
    rig = Rig()
    assert not rig.gate.admits(request("OPTIONS", "sip:100@192.0.2.1"), None, flow(), 0.0)
    assert rig.gate.admits(request("OPTIONS", "sip:hotline.example"), None, flow(), 0.0)
    assert not rig.gate.admits(request("INVITE", "sip:1001@other.example"), None, flow(), 0.0)
    assert not rig.gate.admits(request("MESSAGE", "sip:1001@hotline.example"), None, flow(), 0.0)
    assert rig.gate.admits(request("REGISTER", "sip:192.0.2.1"), None, flow(), 0.0)  # the address it came to
    assert rig.gate.dropped == {"probe": 1, "domain": 1, "method": 1}
    rig.gate.passed(flow(), 1.0)
    assert rig.gate.admits(request("OPTIONS", "sip:100@192.0.2.1"), None, flow(), 2.0)


def test_flood_of_invites_is_limited_then_blocked() -> None:
    rig, let_in = Rig(), 0
    for n in range(4000):  # 40 a second for 100 s
        now = n / 40
        let_in += rig.gate.opens(DATA, flow(), now) and rig.gate.admits(
            request("INVITE", "sip:1001@hotline.example"), None, flow(), now
        )
    assert let_in <= 100
    assert rig.blocked[0] == ("203.0.113.5", "", "flood")


def test_flood_from_everywhere_is_limited_as_a_whole() -> None:
    rig = Rig(replace(POLICY, all_invites=Rate(10.0, 20.0)))
    invite = request("INVITE", "sip:1001@hotline.example")
    let_in = sum(rig.gate.admits(invite, None, flow(f"203.0.{n >> 8}.{n & 255}"), n / 1000) for n in range(10_000))
    assert let_in <= 20 + 10 * 10 + 1


def test_a_site_that_registers_all_its_phones_at_once_is_welcome() -> None:
    rig = Rig()
    for n in range(200):
        assert rig.gate.opens(DATA, flow(port=1000 + n), n * 0.001)
        assert rig.gate.admits(request(), None, flow(port=1000 + n), n * 0.001)
    for n in range(200):
        rig.gate.passed(flow(port=1000 + n), 1.0)
    assert rig.blocked == []


def test_junk_gets_blocked() -> None:
    rig = Rig()
    for _ in range(FLOOD_POINTS // POINTS["junk"]):
        rig.gate.opens(b"\x00\x01\x02", flow(), 0.0)
    assert not rig.gate.opens(DATA, flow(), 1.0)
    assert rig.blocked == [("203.0.113.5", "", "junk")]


def test_events_are_few_and_tables_bounded_whatever_comes() -> None:
    rig = Rig()
    scan = DATA[:-2] + b"User-Agent: sipvicious\r\n\r\n"
    for n in range(50_000):
        rig.gate.opens(scan, flow(f"198.{n >> 16}.{n >> 8 & 255}.{n & 255}"), n * 1e-4)
    assert len(rig.events) <= 101  # 50 at once, then 10 a second, for 5 s
    assert len(rig.gate.blocked(5.0)) <= 16_384


def test_an_operator_may_lift_a_block() -> None:
    rig = Rig()
    for _ in range(5):
        rig.gate.failed(flow(), "8001", 0.0)
    assert rig.gate.blocked(1.0) == [("203.0.113.5", "8001", 59.0)]
    assert rig.gate.release("203.0.113.5") == 1
    assert rig.gate.admits(request(), "8001", flow(), 1.0)
    assert rig.gate.release("203.0.113.5") == 0
    assert rig.events[-1] == SourceUnblocked(source="203.0.113.5", user="8001", why="released", dropped=0)


def test_a_lost_connection_proves_nothing_any_more() -> None:
    rig = Rig()
    rig.gate.passed(flow(connection=7), 0.0)
    assert rig.gate.is_proven(flow(connection=7), 1.0)
    assert not rig.gate.is_proven(flow(connection=8), 1.0)
    rig.gate.flow_lost(flow(connection=7))
    assert not rig.gate.is_proven(flow(connection=7), 1.0)


def test_an_exempt_network_is_neither_limited_nor_blocked() -> None:
    rig, proxy = Rig(), flow("192.0.2.250")
    for n in range(3000):
        rig.gate.failed(proxy, "8001", 0.0)
        assert rig.gate.opens(b"User-Agent: sipvicious", proxy, 0.0)
        rig.gate.junk(proxy, 0.0)
        assert rig.gate.admits(request("INVITE", f"sip:{n}@elsewhere.example"), "8001", proxy, 0.0)
    assert rig.events == []
