"""Phones on TLS, secure WebSocket and IPv6 register, call and are called by a running hotline; certificates change
under it; hundreds of idle and slow clients shut nobody out."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from events.types import CallBridged, CallEnded, PhoneRegistered, PhoneUnregistered
from kernel.ids import AgentName
from tests.support.crowd import SLOW, Crowd
from tests.support.handset import Handset
from tests.support.secure_site import AGENTS, NAME, SecureSite, secure_site

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def hotline() -> Iterator[SecureSite]:
    with secure_site() as running:
        yield running


@contextlib.contextmanager
def ready(hotline: SecureSite, phone: Handset, agent: str) -> Iterator[None]:
    site = hotline.site
    assert phone.register().status == 200
    site.agent(AgentName(agent), "login")
    site.agent(AgentName(agent), "ready")
    try:
        yield
    finally:
        site.agent(AgentName(agent), "logout")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("caller", "called"), [("wss", "tls"), ("tls", "wss"), ("ws", "tcp"), ("tcp", "ws"), ("udp", "tls")]
)
def test_a_call_between_two_transports(hotline: SecureSite, caller: str, called: str, version: int) -> None:
    """Each side hears of addresses that it can use: Via and Contact name its own transport (RFC 7118 §5)."""
    site, before = hotline.site, hotline.site.last()
    agent, customer = hotline.phone(called, "anna", version), hotline.phone(caller, "ben", version)
    with agent, customer, ready(hotline, agent, "anna"):
        registered = site.wait(PhoneRegistered, after=before, aor="8001")
        assert registered.source.startswith(f"{called}:")
        assert customer.register().status == 200
        talk = customer.call("1001")
        assert talk.target.endswith("" if caller == "udp" else f";transport={_word(caller)}")
        invite, _ = agent.answer()
        assert invite.via.transport == called.upper()
        assert str(invite.contacts[0].uri).endswith(f";transport={_word(called)}")
        assert (invite.via.host, invite.via.port) == hotline.at[called, version]
        site.wait(CallBridged, after=before)
        assert talk.bye().status == 200
        agent.confirm(agent.request("BYE"))
        assert site.wait(CallEnded, after=before).ended_by == "caller"
    assert site.wait(PhoneUnregistered, after=before, aor="8001").why == "disconnected"


def _word(transport: str) -> str:
    return {"wss": "ws"}.get(transport, transport)


def test_sips_is_answered_by_sips(hotline: SecureSite) -> None:
    """RFC 3261 §12.1.1: the Contact of both directions is a SIPS URI when that is asked for, else not."""
    agent, customer = (hotline.phone("tls", name, scheme="sips") for name in AGENTS)
    with agent, customer, ready(hotline, agent, "anna"):
        talk = customer.call("1001")
        assert talk.target.startswith("sips:")
        invite, _ = agent.answer()
        assert str(invite.contacts[0].uri).startswith("sips:")
        assert talk.bye().status == 200
        agent.confirm(agent.request("BYE"))


def test_a_phone_that_lost_its_connection_is_called_back(hotline: SecureSite) -> None:
    """RFC 3261 §18.1.1: our BYE goes to the phone's Contact over a new connection."""
    site, before = hotline.site, hotline.site.last()
    agent, customer = hotline.phone("tcp", "anna"), hotline.phone("udp", "ben")
    with agent, customer, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        agent.contact = f"sip:8001@127.0.0.1:{listening.getsockname()[1]};transport=tcp"
        with ready(hotline, agent, "anna"):
            talk = customer.call("1001")
            agent.answer()
            site.wait(CallBridged, after=before)
            agent.wire.socket.close()
            site.wait(PhoneUnregistered, after=before, aor="8001")
            assert talk.bye().status == 200
            agent.wire.socket, _ = listening.accept()
            agent.wire.socket.settimeout(10)
            agent.confirm(agent.request("BYE"))


def test_a_large_register_comes_whole(hotline: SecureSite) -> None:
    """60 KB in one message, over each stream transport."""
    for transport in ("tcp", "tls", "ws", "wss"):
        with hotline.phone(transport, "ben") as phone:
            extra = [(f"X-Filler-{n}", "x" * 8000) for n in range(7)]
            phone.send_request("OPTIONS", "sip:callwright.local", phone._own, "<sip:callwright.local>", extra, b"")
            assert phone.final().status == 200


def test_a_renewed_certificate_is_shown_to_the_next_phone(hotline: SecureSite) -> None:
    """Without a restart, and without harm to connections that are there."""
    host, port = hotline.at["tls", 4]

    def serial() -> str:
        plain = socket.create_connection((host, port), 10)
        with hotline.authority.client().wrap_socket(plain, server_hostname=NAME) as secured:
            certificate = secured.getpeercert()
            assert certificate
            return str(certificate["serialNumber"])

    with hotline.phone("tls", "ben") as phone:
        assert phone.register().status == 200
        before = serial()
        hotline.authority.issue("server", NAME)
        until = time.monotonic() + 10
        while serial() == before:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert phone.register().status == 200


def test_plain_talk_to_a_secure_port_harms_nobody(hotline: SecureSite) -> None:
    for transport in ("tls", "wss"):
        with socket.create_connection(hotline.at[transport, 4], 10) as plain:
            plain.sendall(b"OPTIONS sip:callwright.local SIP/2.0\r\n\r\n" * 3)
            with contextlib.suppress(ConnectionError):
                while plain.recv(4096):
                    pass
    context = ssl.create_default_context()  # does not know our authority
    with socket.create_connection(hotline.at["tls", 4], 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=NAME)


def test_idle_and_slow_clients_shut_nobody_out(hotline: SecureSite) -> None:
    """500 idle and 200 slow TCP clients from the phones' own address, on TCP and TLS ports: meanwhile phones register
    over every transport, for longer than such a client may stay. How fast: bench/figures/crowd.py."""
    with Crowd([hotline.at["tcp", 4], hotline.at["tls", 4]]) as crowd:
        until = time.monotonic() + 14
        while time.monotonic() < until:
            for transport in ("udp", "tcp", "tls", "ws", "wss"):
                with hotline.phone(transport, "ben") as phone:
                    assert phone.register().status == 200
            time.sleep(0.1)
    assert crowd.dropped >= SLOW  # those that completed nothing within their time
