"""Requests too large for UDP (RFC 3261 §18.1.1): by TCP, and by UDP all the same to whom takes no connection."""

import asyncio
from collections.abc import Iterable

import pytest

from engine.call import Dial
from engine.large import CONNECT_WITHIN, LARGEST, REFUSED_FOR, LargeRequests
from engine.session import LiveCall
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request
from engine.sip.parse import parse
from tests.unit.engine.world import OURS, World, play

PHONE = ("192.0.2.30", 5060)
TCP = Flow("tcp", OURS, PHONE, 77)
UDP = Flow("udp", OURS, PHONE)
LONG = "Billing " * 150


class Ringing:
    """Rings 8001 with a display name that makes the INVITE large."""

    async def __call__(self, call: LiveCall) -> None:
        await call.answer()
        dialled = await call.dial(Dial(aor="8001", display=LONG, ring_for=20.0))
        if dialled.leg is not None:
            await call.bridge(dialled.leg, record=False)
        await call.hangup("done")


class Stage:
    """A caller and an agent's phone. wire: what left for the phone, in order."""

    def __init__(self, contact: str = "") -> None:
        self.world = World(n1001=Ringing())
        self.caller = self.world.phone("+8613800000001", 10)
        self.phone = self.world.phone("8001", 30)
        if contact:
            self.phone.contact = contact
        self.world.register(self.phone, "8001")
        self.wire: list[tuple[float, str, Request]] = []
        self._send = self.world.ua._send
        self.world.ua._send = self._sent

    def _sent(self, flow: Flow, data: bytes) -> bool:
        taken = self._send(flow, data)
        if flow.remote == PHONE and taken and data[:3] in (b"INV", b"ACK", b"BYE"):
            message = _parsed(data)
            self.wire.append((round(self.world.now(), 2), flow.transport, message))
        return taken

    def takes_tcp(self) -> None:
        self.world.tcp[PHONE] = TCP
        self.world.phones[TCP] = self.phone

    async def call(self, lasts: float = 5.0) -> None:
        self.caller.call("1001")
        await asyncio.sleep(lasts)
        self.caller.hang_up()
        await asyncio.sleep(1)

    def sent(self, method: str) -> list[tuple[float, str, Request]]:
        return [entry for entry in self.wire if entry[2].method == method]


def _parsed(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def _way(request: Request) -> tuple[str, str]:
    """Transport and host of the Via, and our Contact."""
    return str(request.headers.get("Via")).split(";")[0], str(request.headers.get("Contact"))


def test_a_large_invite_goes_by_tcp_and_says_so() -> None:
    """Via and Contact name TCP; the BYE, as large, goes by it too. The ACK goes where the phone's Contact says."""

    async def story() -> None:
        stage = Stage()
        stage.takes_tcp()
        await stage.call()
        ((_, transport, invite),) = stage.sent("INVITE")
        assert transport == "tcp"
        assert len(invite.encode()) > LARGEST
        assert _way(invite) == ("SIP/2.0/TCP 192.0.2.1:5060", "<sip:192.0.2.1:5060;transport=tcp>")
        assert [transport for _, transport, _ in stage.sent("ACK")] == ["udp"]
        assert [transport for _, transport, _ in stage.sent("BYE")] == ["tcp"]
        await stage.world.settle()

    play(story)


def test_without_a_listener_on_tcp_the_contact_stays() -> None:
    async def story() -> None:
        stage = Stage()
        stage.takes_tcp()
        settings = stage.world.ua.line.settings
        stage.world.ua.line.settings = type(settings)(domain=settings.domain, tcp=False)
        await stage.call()
        ((_, _, invite),) = stage.sent("INVITE")
        assert _way(invite) == ("SIP/2.0/TCP 192.0.2.1:5060", "<sip:192.0.2.1:5060>")
        await stage.world.settle()

    play(story)


@pytest.mark.parametrize("fails_after", [0.0, CONNECT_WITHIN])
def test_who_takes_no_connection_is_called_by_udp(fails_after: float) -> None:
    """Refused at once, or silent: in the same transaction, retransmitted from then on; the next call does not ask."""

    async def story() -> None:
        stage = Stage()
        stage.world.tcp[PHONE] = TCP
        lost: Iterable[bool] = iter([True])
        stage.world.lose = lambda data: data.startswith(b"INVITE sip:8001") and next(iter(lost), False)
        at = asyncio.get_running_loop().time()
        asyncio.get_running_loop().call_later(fails_after + 0.1, stage.world.ua.flow_lost, TCP)
        await stage.call()
        (_, first, large), (_, second, again), (_, third, repeated) = stage.sent("INVITE")
        assert (first, second, third) == ("tcp", "udp", "udp")
        assert _way(again) == ("SIP/2.0/UDP 192.0.2.1:5060", "<sip:192.0.2.1:5060>")
        assert again == repeated
        assert again.via.branch == large.via.branch
        times = [when for when, _, _ in stage.sent("INVITE")]
        assert times[2] - times[1] == pytest.approx(0.5, abs=0.02)
        assert times[1] - at == pytest.approx(fails_after + 0.1, abs=0.05)
        assert stage.phone.log.count("bye") == 1
        stage.wire.clear()
        await stage.call()
        assert [transport for _, transport, _ in stage.sent("INVITE")] == ["udp"]
        await stage.world.settle()

    play(story)


def test_a_caller_who_gives_up_while_the_connection_is_made() -> None:
    """The CANCEL waits for the phone's first word, by whatever way that comes."""

    async def story() -> None:
        stage = Stage()
        stage.world.tcp[PHONE] = TCP
        stage.phone.answer_after = None
        asyncio.get_running_loop().call_later(1.0, stage.world.ua.flow_lost, TCP)
        await stage.call(0.5)
        await asyncio.sleep(5)
        assert [transport for _, transport, _ in stage.sent("INVITE")] == ["tcp", "udp"]
        assert "cancelled" in stage.phone.log
        await stage.world.settle()

    play(story)


def test_a_phone_behind_nat_is_called_through_its_hole() -> None:
    """Its Contact is not where its REGISTER came from: no connection would reach it."""

    async def story() -> None:
        stage = Stage(contact="<sip:8001@10.0.0.7:5060>")
        stage.takes_tcp()
        await stage.call()
        assert [transport for _, transport, _ in stage.sent("INVITE")] == ["udp"]
        await stage.world.settle()

    play(story)


def _request(uri: str = "sip:8001@192.0.2.30", route: str = "") -> Request:
    return Request("INVITE", uri, Headers.of([("Route", route)] if route else []))


@pytest.mark.parametrize(
    ("size", "mtu", "tcp"),
    [
        (1300, 0, False),
        (1301, 0, True),
        (1300, 65_536, False),
        (1301, 9000, True),
        (1080, 1280, False),
        (1081, 1280, True),
    ],
)
def test_the_limit_is_1300_octets_or_200_less_than_the_mtu(size: int, mtu: int, tcp: bool) -> None:
    """RFC 3261 §18.1.1."""
    large = LargeRequests(lambda _: TCP, lambda _: mtu)
    assert large.instead(_request(), size, UDP, 0.0) == (TCP if tcp else None)


@pytest.mark.parametrize(
    ("request_", "tcp"),
    [
        (_request("sip:8001@192.0.2.30:5060;transport=udp"), True),
        (_request("sip:8001@192.0.2.30:5070"), False),
        (_request("sip:+49@op.example"), True),
        (_request("sip:8001@10.0.0.1", "<sip:192.0.2.30;lr>, <sip:10.0.0.9;lr>"), True),
        (_request("sip:8001@192.0.2.30", "<sip:10.0.0.9;lr>"), False),
        (_request("sip:8001@192.0.2.30", "nonsense"), False),
    ],
)
def test_only_where_the_next_hop_leads_is_a_connection_made(request_: Request, tcp: bool) -> None:
    large = LargeRequests(lambda _: TCP)
    assert (large.instead(request_, 2000, UDP, 0.0) is not None) is tcp


def test_a_refusal_is_remembered_for_a_while() -> None:
    large = LargeRequests(lambda _: TCP)
    large.refused(PHONE, 10.0)
    assert large.instead(_request(), 2000, UDP, 9.0 + REFUSED_FOR) is None
    assert large.instead(_request(), 2000, UDP, 10.0 + REFUSED_FOR) == TCP
