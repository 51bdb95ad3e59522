"""Phones on TLS, secure WebSocket and IPv6 register, call and are called by a running hotline; certificates change
under it; hundreds of idle and slow clients shut nobody out."""

import contextlib
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from events.types import CallBridged, CallEnded, PhoneRegistered, PhoneUnregistered
from kernel.ids import AgentName
from tests.support.authority import Authority
from tests.support.handset import Handset
from tests.support.site import Site, serving

pytestmark = pytest.mark.interop

FLOW = """
title: straight to the queue
start: open
nodes:
  open:
    answer:
    next: wait
  wait:
    enqueue: billing
    otherwise: hangup
"""
NAME = "hotline.example"
AGENTS = {"anna": "8001", "ben": "8002"}


class Hotline:
    """A site with all transports. `at`: (transport, IP version) -> address."""

    def __init__(self, site: Site, authority: Authority) -> None:
        self.site = site
        self.authority = authority
        self.at: dict[tuple[str, int], tuple[str, int]] = {}
        for text in site.listening:
            transport, _, address = text.partition(":")
            host, _, port = address.rpartition(":")
            self.at[transport, 6 if "[" in host else 4] = (host.strip("[]"), int(port))

    def phone(self, transport: str, agent: str, version: int = 4, **more: Any) -> Handset:
        context = self.authority.client() if transport in ("tls", "wss") else None
        server = self.at[transport, version]
        return Handset(transport, server, AGENTS[agent], f"secret-{agent}", context=context, name=NAME, **more)


@pytest.fixture(scope="module")
def hotline() -> Iterator[Hotline]:
    folder = Path(tempfile.mkdtemp(prefix="cw-ca-"))
    authority = Authority(folder)
    pair = authority.issue("server", NAME)

    def edit(config: dict[str, Any]) -> None:
        both = [f"{transport}:{host}:0" for transport in ("tcp", "tls", "ws", "wss") for host in ("127.0.0.1", "[::1]")]
        config["callwright"]["sip"] |= {
            "listen": ["udp:127.0.0.1:0", "udp:[::1]:0", *both],
            "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        }
        config["callwright"]["numbers"] = {"1001": "main"}
        config["agents"]["agents"] = {
            name: {"display": name, "user": user, "password": f"secret-{name}", "skills": {"billing": 5}}
            for name, user in AGENTS.items()
        }
        for queue in config["queues"]["queues"].values():
            queue |= {"wrap_up": 0, "announce": {"first": None, "every": 0}}

    def prepare(site: Path) -> None:
        (site / "ivr_flows").mkdir()
        (site / "ivr_flows" / "main.yaml").write_text(FLOW)

    try:
        with serving(edit, prepare=prepare) as site:
            yield Hotline(site, authority)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def ready(hotline: Hotline, phone: Handset, agent: str) -> Iterator[None]:
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
def test_a_call_between_two_transports(hotline: Hotline, caller: str, called: str, version: int) -> None:
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


def test_sips_is_answered_by_sips(hotline: Hotline) -> None:
    """RFC 3261 §12.1.1: the Contact of both directions is a SIPS URI when that is asked for, else not."""
    agent, customer = (hotline.phone("tls", name, scheme="sips") for name in AGENTS)
    with agent, customer, ready(hotline, agent, "anna"):
        talk = customer.call("1001")
        assert talk.target.startswith("sips:")
        invite, _ = agent.answer()
        assert str(invite.contacts[0].uri).startswith("sips:")
        assert talk.bye().status == 200
        agent.confirm(agent.request("BYE"))


def test_a_phone_that_lost_its_connection_is_called_back(hotline: Hotline) -> None:
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


def test_a_large_register_comes_whole(hotline: Hotline) -> None:
    """60 KB in one message, over each stream transport."""
    for transport in ("tcp", "tls", "ws", "wss"):
        with hotline.phone(transport, "ben") as phone:
            extra = [(f"X-Filler-{n}", "x" * 8000) for n in range(7)]
            phone.send_request("OPTIONS", "sip:callwright.local", phone._own, "<sip:callwright.local>", extra, b"")
            assert phone.final().status == 200


def test_a_renewed_certificate_is_shown_to_the_next_phone(hotline: Hotline) -> None:
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


def test_plain_talk_to_a_secure_port_harms_nobody(hotline: Hotline) -> None:
    for transport in ("tls", "wss"):
        with socket.create_connection(hotline.at[transport, 4], 10) as plain:
            plain.sendall(b"OPTIONS sip:callwright.local SIP/2.0\r\n\r\n" * 3)
            with contextlib.suppress(ConnectionError):
                while plain.recv(4096):
                    pass
    context = ssl.create_default_context()  # does not know our authority
    with socket.create_connection(hotline.at["tls", 4], 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=NAME)


IDLE, SLOW = 500, 200


class Crowd:
    """Clients that keep connections and give nothing for them: IDLE say nothing, SLOW an octet now and then. Those that
    the hotline drops come back."""

    def __init__(self, servers: list[tuple[str, int]]) -> None:
        self._servers = servers
        self._stop = threading.Event()
        self._full = threading.Event()
        self._text = b"REGISTER sip:callwright.local SIP/2.0\r\nX-Filler: " + b"x" * 8000
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.dropped = 0

    def __enter__(self) -> "Crowd":
        self._thread.start()
        assert self._full.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            clients = [self._client(n) for n in range(IDLE + SLOW)]
            self._full.set()
            position = 0
            while not self._stop.wait(0.2):
                position += 1
                for n, client in enumerate(clients):
                    if not self._goes_on(n, client, position):
                        client.close()
                        self.dropped += 1
                        clients[n] = self._client(n)
            for client in clients:
                stack.push(client)

    def _client(self, n: int) -> socket.socket:
        client = socket.create_connection(self._servers[n % len(self._servers)], 10)
        client.setblocking(False)
        return client

    def _goes_on(self, n: int, client: socket.socket, position: int) -> bool:
        try:
            if n >= IDLE:
                client.send(self._text[position : position + 1])
            return client.recv(64) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def test_idle_and_slow_clients_shut_nobody_out(
    hotline: Hotline, record_property: Callable[[str, object], None]
) -> None:
    """500 idle and 200 slow TCP clients from the phones' own address, on TCP and TLS ports: meanwhile phones register
    over every transport, for longer than such a client may stay."""
    slowest = 0.0
    with Crowd([hotline.at["tcp", 4], hotline.at["tls", 4]]) as crowd:
        until = time.monotonic() + 14
        while time.monotonic() < until:
            for transport in ("udp", "tcp", "tls", "ws", "wss"):
                begun = time.monotonic()
                with hotline.phone(transport, "ben") as phone:
                    assert phone.register().status == 200
                slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.1)
    assert crowd.dropped >= 200  # those that completed nothing within their time
    record_property("slowest_ms", round(slowest * 1000))
