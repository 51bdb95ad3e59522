"""Connections over real sockets of the loopback, on the loop that production uses."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request, TextMessage

from engine.sip.flow import Flow
from engine.transport import pool as pool_module
from engine.transport.addresses import LocalAddresses
from engine.transport.pool import Pool
from engine.transport.tls import TlsContexts, TlsSettings
from tests.support.authority import Authority

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds until a test that waits for the network gives up."""
HOST = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def message(n: int = 0, body: bytes = b"") -> bytes:
    return b"OPTIONS sip:%d@hotline.example SIP/2.0\r\nContent-Length: %d\r\n\r\n%b" % (n, len(body), body)


def on_loop(scene: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await scene

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def contexts(authority: Authority) -> TlsContexts:
    own = authority.issue("server", "hotline.example", "127.0.0.1")
    return TlsContexts(TlsSettings(own=own, server_ca=authority.certificate), lambda: 0.0)


class Side:
    """One pool and what it hears."""

    def __init__(self, tls: TlsContexts | None = None, **limits: Any) -> None:
        self.heard: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.lost: asyncio.Queue[Flow] = asyncio.Queue()
        self.numbers = iter(range(1, 1 << 30))
        self.pool = Pool(
            lambda data, flow: self.heard.put_nowait((data, flow)),
            self.lost.put_nowait,
            self.numbers.__next__,
            LocalAddresses(),
            tls=tls,
            **limits,
        )

    async def listen(self, transport: str, family: socket.AddressFamily = socket.AF_INET) -> tuple[str, int]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.bind((HOST[family], 0))
        sock.listen()
        address = sock.getsockname()[:2]
        await self.pool.listen(transport, sock)
        return str(address[0]), int(address[1])

    async def close(self) -> None:
        """The sockets are gone when this returns, so that none is left for the garbage collector to warn of."""
        self.pool.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_two_pools_talk_both_ways_over_one_connection(
    authority: Authority, transport: str, family: socket.AddressFamily
) -> None:
    """Opened on demand, used again, large messages whole; each message comes on the flow that leads back."""

    async def scene() -> None:
        host = HOST[family]
        own = authority.issue("both", host)
        tls = TlsContexts(TlsSettings(own=own, server_ca=authority.certificate), lambda: 0.0)
        near, far = Side(tls), Side(tls)
        at = await far.listen(transport, family)
        here = await near.listen(transport, family)
        flow = near.pool.flow_to(transport, at)
        assert flow is not None
        assert flow.local == here
        assert near.pool.send(flow, message(1, b"x" * 60_000))
        assert near.pool.send(flow, message(2))
        data, back = await far.heard.get()
        assert data == message(1, b"x" * 60_000)
        assert (await far.heard.get()) == (message(2), back)
        assert near.pool.flow_to(transport, at) == flow
        assert far.pool.send(back, message(3))
        assert await near.heard.get() == (message(3), flow)
        assert far.pool.flow_to(transport, back.remote) == back
        await far.close()
        assert await near.lost.get() == flow
        assert not near.pool.alive(flow)
        assert not near.pool.send(flow, message())
        await near.close()

    on_loop(scene())


def test_a_phone_that_sends_octets_one_by_one(authority: Authority, contexts: TlsContexts) -> None:
    """Over TCP, and over TLS with a record for each."""

    async def scene(transport: str, context: ssl.SSLContext | None) -> None:
        side = Side(contexts)
        at = await side.listen(transport)
        name = "hotline.example" if context else None
        reader, writer = await asyncio.open_connection(*at, ssl=context, server_hostname=name)
        for n in range(3):
            for octet in message(n):
                writer.write(bytes([octet]))
                await writer.drain()
            data, flow = await side.heard.get()
            assert data == message(n)
            side.pool.send(flow, message(n + 10))
            assert await reader.readexactly(len(message(n + 10))) == message(n + 10)
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
        writer.close()
        assert await side.lost.get() == flow
        await side.close()

    on_loop(scene("tcp", None))
    on_loop(scene("tls", authority.client()))


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_a_browser_talks(authority: Authority, contexts: TlsContexts, transport: str) -> None:
    async def scene() -> None:
        side = Side(contexts)
        at = await side.listen(transport)
        context = authority.client() if transport == "wss" else None
        name = "hotline.example" if context else None
        reader, writer = await asyncio.open_connection(*at, ssl=context, server_hostname=name)
        browser = WSConnection(ConnectionType.CLIENT)
        writer.write(browser.send(Request(host="hotline.example", target="/", subprotocols=["sip"])))
        browser.receive_data(await reader.read(4096))
        assert isinstance(next(browser.events()), AcceptConnection)
        for octet in browser.send(TextMessage(message(1).decode())):
            writer.write(bytes([octet]))
        data, flow = await side.heard.get()
        assert data == message(1)
        assert flow.transport == transport
        side.pool.send(flow, message(2, b"\xff"))
        browser.receive_data(await reader.read(4096))
        assert list(browser.events()) == [BytesMessage(message(2, b"\xff"))]
        assert side.pool.flow_to(transport, flow.remote) == flow
        assert side.pool.flow_to(transport, at) is None
        writer.close()
        assert await side.lost.get() == flow
        await side.close()

    on_loop(scene())


def test_nobody_there_fails_the_flow() -> None:
    """A refused connection; what was to be sent on it is given up."""

    async def scene() -> None:
        side = Side()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            at = free.getsockname()
        flow = side.pool.flow_to("tcp", at)
        assert flow is not None
        assert side.pool.send(flow, message())
        assert await side.lost.get() == flow
        assert side.pool.flow_to("tls", at) is None  # no certificates at all
        assert side.pool.flow_to("sctp", at) is None

    on_loop(scene())


def test_a_server_that_says_nothing_fails_in_time(contexts: TlsContexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP is accepted by the kernel, the TLS handshake never answered."""
    monkeypatch.setattr(pool_module, "CONNECT_WITHIN", 0.1)

    async def scene() -> None:
        side = Side(contexts)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            flow = side.pool.flow_to("tls", silent.getsockname())
            assert await side.lost.get() == flow
        await side.close()

    assert pool_module.CONNECT_WITHIN < 4
    on_loop(scene())


def test_a_server_with_another_name_is_not_talked_to(contexts: TlsContexts) -> None:
    """And a connection that was proved to be somebody is used for nobody else."""

    async def scene() -> None:
        near, far = Side(contexts), Side(contexts)
        at = await far.listen("tls")
        wrong = near.pool.flow_to("tls", at, "trunk.example")
        assert wrong is not None
        near.pool.send(wrong, message())
        assert await near.lost.get() == wrong
        right = near.pool.flow_to("tls", at, "hotline.example")
        assert right is not None
        near.pool.send(right, message())
        await far.heard.get()
        assert near.pool.peer_names(right) == ("hotline.example", "127.0.0.1")
        assert near.pool.flow_to("tls", at, "hotline.example") == right
        assert near.pool.flow_to("tls", at) != right
        assert far.heard.empty()
        await near.close()
        await far.close()

    on_loop(scene())


def test_a_phone_proves_itself_by_certificate(authority: Authority, tmp_path: Path) -> None:
    own = authority.issue("server2", "hotline.example")
    settings = TlsSettings(own=own, client_ca=authority.certificate, require_client_certificate=True)

    async def scene() -> None:
        side = Side(TlsContexts(settings, lambda: 0.0))
        at = await side.listen("tls")
        trunk = authority.client(authority.issue("trunk", "trunk.example"))
        _, writer = await asyncio.open_connection(*at, ssl=trunk, server_hostname="hotline.example")
        writer.write(message())
        _, flow = await side.heard.get()
        assert side.pool.peer_names(flow) == ("trunk.example",)
        writer.close()
        reader, writer = await asyncio.open_connection(*at, ssl=authority.client(), server_hostname="hotline.example")
        writer.write(message())
        with suppress(OSError):  # TLS 1.3 tells a client of its missing certificate after the handshake
            assert await reader.read() == b""
        writer.close()
        await side.lost.get()
        assert side.heard.empty()
        await side.close()

    on_loop(scene())


async def _connect(at: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*at)


@pytest.mark.parametrize("limits", [{"per_source": 3}, {"limit": 3}])
def test_a_newcomer_takes_the_place_of_the_oldest_silent_one(limits: dict[str, int]) -> None:
    """Whoever has said something stays; when all have, the newcomer is refused."""

    async def scene() -> None:
        side = Side(None, **limits)
        at = await side.listen("tcp")
        phones = [await _connect(at) for _ in range(3)]
        await asyncio.sleep(0.05)
        phones[0][1].write(message(0))
        await side.heard.get()
        phones.append(await _connect(at))
        assert await phones[1][0].read() == b""
        for n in (2, 3):
            phones[n][1].write(message(n))
            assert (await side.heard.get())[0] == message(n)
        phones.append(await _connect(at))
        with suppress(ConnectionError):
            assert await phones[4][0].read() == b""
        phones[0][1].write(message(5))
        assert (await side.heard.get())[0] == message(5)
        for _, writer in phones:
            writer.close()
        await asyncio.sleep(0.05)
        await side.close()

    on_loop(scene())
