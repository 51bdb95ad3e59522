"""What we say we are on each transport, and by which flow a dialog goes on."""

import pytest

from engine.admission import Admission
from engine.line import Line, LineSettings, wants_sips
from engine.sip.dialog import Dialog
from engine.sip.flow import Flow
from engine.sip.message import Headers, Request
from engine.trunks.model import Trunk
from tests.support.virtual import run
from tests.unit.engine.world import World

PHONE = ("192.0.2.10", 40_000)


def flow(transport: str, port: int = 5060, host: str = "192.0.2.1") -> Flow:
    return Flow(transport, (host, port), PHONE, 0 if transport == "udp" else 7)


async def line(**settings: object) -> Line:
    found = World().ua.line
    found.settings = LineSettings(domain="example.net", **settings)  # type: ignore[arg-type]
    found.flow_to = lambda transport, remote, name="": (
        None if transport == "ws" else Flow(transport, ("", 0), remote, 9)
    )
    found.alive = lambda it: it.connection != 7
    return found


@pytest.mark.parametrize(
    ("transport", "plain", "secure"),
    [
        ("udp", "<sip:192.0.2.1:5060>", "<sip:192.0.2.1:5060>"),
        ("tcp", "<sip:192.0.2.1:5060;transport=tcp>", "<sip:192.0.2.1:5060;transport=tcp>"),
        ("tls", "<sip:192.0.2.1:5060;transport=tls>", "<sips:192.0.2.1:5060>"),
        ("ws", "<sip:192.0.2.1:5060;transport=ws>", "<sip:192.0.2.1:5060;transport=ws>"),
        ("wss", "<sip:192.0.2.1:5060;transport=ws>", "<sips:192.0.2.1:5060;transport=ws>"),
    ],
)
def test_contact_names_the_transport(transport: str, plain: str, secure: str) -> None:
    """SIPS only when asked for, and only where it can be kept."""

    async def story() -> tuple[str, str]:
        here = await line()
        return here.contact(flow(transport)), here.contact(flow(transport), secure=True)

    assert run(story()) == (plain, secure)


def test_each_listener_has_its_own_name_in_the_world() -> None:
    """Before that of the site; an address is named in SDP as well, if it is of the media's IP version."""

    async def story() -> None:
        own = {
            ("udp", "192.0.2.1", 5060): ("198.51.100.1", 6060),
            ("tls", "0.0.0.0", 5061): ("sip.example.com", 443),
            ("tcp", "::", 5060): ("2001:db8::7", 5060),
        }
        here = await line(advertised=own, sip_advertise="site.example.com", media_advertise="203.0.113.9")
        assert here.sent_by(flow("udp")) == ("198.51.100.1", 6060)
        assert here.sent_by(flow("tls", 5061)) == ("sip.example.com", 443)
        assert here.contact(flow("tcp", host="2001:db8::1")) == "<sip:[2001:db8::7]:5060;transport=tcp>"
        assert here.sent_by(flow("udp", 5062)) == ("site.example.com", 5062)
        assert here.media_shown("192.0.2.1", flow("udp")) == "198.51.100.1"
        assert here.media_shown("2001:db8::1", flow("udp")) == "2001:db8::1"
        assert here.media_shown("192.0.2.1", flow("tls", 5061)) == "203.0.113.9"

    run(story())


@pytest.mark.parametrize(
    ("target", "arrived", "expected"),
    [
        ("sip:a@192.0.2.10:5070", "udp", ("udp", 5070)),
        ("sip:a@192.0.2.10", "udp", ("udp", 5060)),
        ("sip:a@192.0.2.10:5070;transport=TCP", "udp", ("tcp", 5070)),
        ("sip:a@192.0.2.10:5070;transport=tcp", "tcp", ("tcp", 5070)),
        ("sip:a@192.0.2.10", "tls", ("tls", 5061)),
        ("sips:a@192.0.2.10", "tcp", ("tls", 5061)),
        ("sip:a@192.0.2.10:5070;transport=ws", "wss", None),
        ("sip:a@phone.invalid;transport=tcp", "tcp", None),
        ("sip:a@10.0.0.1:5070;transport=tcp", "tcp", None),
    ],
)
def test_a_dialog_goes_on_when_its_connection_is_gone(
    target: str, arrived: str, expected: tuple[str, int] | None
) -> None:
    """To the Contact, by the transport that it asks for; where nothing can be opened, the old flow has to do."""

    async def story() -> Flow:
        dialog = Dialog(
            call_id="1",
            local_tag="a",
            remote_tag="b",
            local_uri="<sip:1001@example.net>",
            remote_uri="<sip:a@example.net>",
            remote_target=target,
            local_contact="<sip:192.0.2.1>",
        )
        return (await line()).flow_of(dialog, flow(arrived))

    found = run(story())
    if expected is None:
        assert found == flow(arrived)
    else:
        assert (found.transport, found.remote) == (expected[0], ("192.0.2.10", expected[1]))


def test_a_connection_that_is_there_is_used_again() -> None:
    async def story() -> None:
        here = await line()
        there = Flow("tcp", ("192.0.2.1", 5060), PHONE, 8)
        dialog = Dialog(
            call_id="1",
            local_tag="a",
            remote_tag="b",
            local_uri="<sip:1001@example.net>",
            remote_uri="<sip:a@example.net>",
            remote_target="sip:a@192.0.2.10",
            local_contact="<sip:192.0.2.1>",
        )
        assert here.flow_of(dialog, there) == there

    run(story())


@pytest.mark.parametrize(
    ("target", "contact", "route", "asks"),
    [
        ("sips:1001@h", "<sip:a@b>", None, True),
        ("sip:1001@h", "<sips:a@b>", None, True),
        ("sip:1001@h", "<sips:a@b>", "<sip:p;lr>", False),
        ("sip:1001@h", "<sip:a@b>", "<sips:p;lr>", True),
        ("sip:1001@h", "<sip:a@b>", None, False),
    ],
)
def test_when_sips_is_asked_for(target: str, contact: str, route: str | None, asks: bool) -> None:
    """RFC 3261 §12.1.1."""
    items = [("Contact", contact), *([("Record-Route", route)] if route else [])]
    assert wants_sips(Request("INVITE", target, Headers(items))) is asks


def test_no_trunk_by_address_over_websocket() -> None:
    """A page that a browser in a trusted network shows is not the trunk."""

    async def story() -> None:
        admission: Admission = World().ua._admission
        found: Trunk | None = admission.trunk_of(flow("tls"))
        assert found is not None
        assert admission.trunk_of(flow("ws")) is None
        assert admission.trunk_of(flow("wss")) is None

    run(story())
