"""The real sockets, over loopback: UDP and TCP, IPv4 and IPv6, and connections that come to an end."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from app.transports import SipSocket, Transports, advertised, parse_sip_socket, split_host
from engine.sip.flow import Flow

OPTIONS = (
    b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
WITHIN = 5.0


class Rig:
    def __init__(self) -> None:
        self.transports = Transports()
        self.got: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.lost: asyncio.Queue[Flow] = asyncio.Queue()
        self.addresses: list[tuple[str, int]] = []

    async def start(self, *wanted: tuple[str, str]) -> None:
        sockets = []
        for transport, host in wanted:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
            sock = socket.socket(family, kind)
            sock.bind((host, 0))
            if transport == "tcp":
                sock.listen()
            self.addresses.append(sock.getsockname()[:2])
            sockets.append(SipSocket(transport, sock.detach()))
        await self.transports.start(sockets, lambda d, f: self.got.put_nowait((d, f)), self.lost.put_nowait)

    async def next(self) -> tuple[bytes, Flow]:
        return await asyncio.wait_for(self.got.get(), WITHIN)


def play(story: Callable[[Rig], Awaitable[None]], *wanted: tuple[str, str]) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start(*wanted)
        try:
            await story(rig)
        finally:
            rig.transports.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_datagram_is_answered_on_its_flow(host: str) -> None:
    async def story(rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        near = "::1" if ":" in host else "127.0.0.1"
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.bind((near, 0))
            peer.sendto(b"ping", (near, rig.addresses[0][1]))
            data, flow = await rig.next()
            assert (data, flow.local[0], flow.remote) == (b"ping", near, peer.getsockname()[:2])
            assert rig.transports.send(flow, b"pong")
            assert await asyncio.wait_for(loop.sock_recv(peer, 100), WITHIN) == b"pong"

    play(story, ("udp", host), ("udp", "::1"))


def test_datagrams_that_come_together_are_kept_apart() -> None:
    async def story(rig: Rig) -> None:
        sent = [b"x" * size for size in (65_507, 1, 900)] + [b"", b"last"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for data in sent:
                peer.sendto(data, rig.addresses[0])
        assert [(await rig.next())[0] for _ in sent] == sent

    play(story, ("udp", "127.0.0.1"))


def test_a_datagram_that_cannot_be_sent_harms_nothing() -> None:
    async def story(rig: Rig) -> None:
        host, port = rig.addresses[0]
        for remote in (("255.255.255.255", 5060), ("127.0.0.1", 0), ("224.0.0.1", 1)):
            rig.transports.send(Flow("udp", (host, port), remote, 0), b"x" * 70_000)
            rig.transports.send(Flow("udp", (host, port), remote, 0), b"x")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"still there", (host, port))
            assert (await rig.next())[0] == b"still there"
        assert rig.transports.flow_to("udp", ("::1", 5060)) is None
        assert rig.transports.flow_to("ws", ("127.0.0.1", 5060)) is None

    play(story, ("udp", "127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_messages_come_and_go_on_one_connection_until_it_is_lost(host: str) -> None:
    async def story(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection(*rig.addresses[0])
        writer.write(b"\r\n\r\n" + OPTIONS + OPTIONS[:50])
        data, flow = await rig.next()
        assert (data, flow.transport, flow.remote) == (OPTIONS, "tcp", writer.get_extra_info("sockname")[:2])
        assert await asyncio.wait_for(reader.readexactly(2), WITHIN) == b"\r\n"
        assert rig.transports.send(flow, b"pong")
        assert await asyncio.wait_for(reader.readexactly(4), WITHIN) == b"pong"
        writer.close()
        assert await asyncio.wait_for(rig.lost.get(), WITHIN) == flow
        assert not rig.transports.send(flow, b"too late")

    play(story, ("tcp", host))


def test_what_is_no_sip_is_told_so_and_cut() -> None:
    async def story(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection(*rig.addresses[0])
        writer.write(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: x"))
        assert (await asyncio.wait_for(reader.read(), WITHIN)).startswith(b"SIP/2.0 400")
        writer.close()
        assert (await asyncio.wait_for(rig.lost.get(), WITHIN)).transport == "tcp"

    play(story, ("tcp", "127.0.0.1"))


def test_inherited_sockets_are_named_on_the_command_line() -> None:
    assert parse_sip_socket("udp:[::1]:5060=7") == SipSocket("udp", 7, ("::1", 5060))
    assert parse_sip_socket("wss:127.0.0.1:443=8") == SipSocket("wss", 8, ("127.0.0.1", 443))
    with pytest.raises(ValueError, match="TRANSPORT"):
        parse_sip_socket("sctp:127.0.0.1:5061=7")


def test_a_response_finds_another_way_when_its_connection_is_gone() -> None:
    """RFC 3261 §18.2.2: to the address that the request came from, at the port in its Via. A request does not."""

    async def story(rig: Rig) -> None:
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            elsewhere.setblocking(False)
            port = b"%d" % elsewhere.getsockname()[1]
            request = OPTIONS.replace(b"TCP h;", b"TCP h:" + port + b";")
            _, writer = await asyncio.open_connection(*rig.addresses[0])
            writer.write(request)
            _, flow = await rig.next()
            writer.close()
            assert await asyncio.wait_for(rig.lost.get(), WITHIN) == flow
            assert not rig.transports.alive(flow)
            assert not rig.transports.send(flow, request)
            response = request.replace(b"OPTIONS sip:x@y SIP/2.0", b"SIP/2.0 200 OK", 1)
            assert rig.transports.send(flow, response)
            loop = asyncio.get_running_loop()
            taken, _ = await asyncio.wait_for(loop.sock_accept(elsewhere), WITHIN)
            with taken:
                assert await asyncio.wait_for(loop.sock_recv(taken, 65_536), WITHIN) == response
            assert not rig.transports.send(flow, b"SIP/2.0 rubbish")

    play(story, ("tcp", "127.0.0.1"))


def test_a_datagram_leaves_by_the_address_that_its_peer_is_near() -> None:
    """Of several sockets: the one whose address the routing table gives to packets for that peer, else a wildcard."""

    async def story(rig: Rig) -> None:
        flow = rig.transports.flow_to("udp", ("127.0.0.1", 9))
        assert flow is not None
        assert flow.local == rig.addresses[1]
        other = rig.transports.flow_to("udp", ("::1", 9))
        assert other is not None
        assert other.local == rig.addresses[2]

    play(story, ("udp", "127.0.0.2"), ("udp", "127.0.0.1"), ("udp", "::1"))


def test_what_the_world_sees_of_a_listener() -> None:
    """Host, with a port of its own or the listener's; IPv6 in brackets or bare."""
    sockets = [SipSocket("tls", 7, ("0.0.0.0", 5061)), SipSocket("udp", 8, ("::", 5060)), SipSocket("tcp", 9, ("h", 1))]
    assert advertised(sockets, ["sip.example.com:443", "2001:db8::7", ""]) == {
        ("tls", "0.0.0.0", 5061): ("sip.example.com", 443),
        ("udp", "::", 5060): ("2001:db8::7", 5060),
    }
    assert split_host("[2001:db8::7]:5061") == ("2001:db8::7", 5061)
    assert split_host("[2001:db8::7]") == ("2001:db8::7", 0)


def test_a_connection_for_large_requests() -> None:
    """To a peer's UDP port; one that nobody listens on is lost at once, one that is there carries the request."""

    async def story(rig: Rig) -> None:
        with socket.create_server(("127.0.0.1", 0)) as there:
            at = there.getsockname()
            flow = rig.transports.tcp_for_large(at)
            assert flow is not None
            assert rig.transports.send(flow, b"INVITE")
            there.setblocking(False)
            loop = asyncio.get_running_loop()
            peer, _ = await asyncio.wait_for(loop.sock_accept(there), WITHIN)
            assert await asyncio.wait_for(loop.sock_recv(peer, 100), WITHIN) == b"INVITE"
            peer.close()
            assert await asyncio.wait_for(rig.lost.get(), WITHIN) == flow
        refused = rig.transports.tcp_for_large(at)
        assert await asyncio.wait_for(rig.lost.get(), WITHIN) == refused
        assert rig.transports.mtu("127.0.0.1") >= 1280

    play(story, ("udp", "127.0.0.1"))
