"""What one connection does with octets and with time, under virtual time and without sockets."""

import asyncio
from typing import Any

import pytest
from wsproto.events import TextMessage

from engine.sip.flow import Flow
from engine.transport.addresses import Address
from engine.transport.carrier import Carrier, StreamCarrier
from engine.transport.connection import (
    FIRST_MESSAGE_WITHIN,
    LEAVE_WITHIN,
    MESSAGE_WITHIN,
    PING_EVERY,
    PONG_WITHIN,
    Connection,
)
from engine.transport.ws import WebSocketCarrier
from tests.support.virtual import run
from tests.unit.transport.test_ws import Browser

FLOW = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 40_000), 7)
MESSAGE = b"OPTIONS sip:hotline.example SIP/2.0\r\nContent-Length: 0\r\n\r\n"
IDLE = 1000.0
KEEP_ALIVE = 25.0
PING = b"\r\n\r\n"
PONG = b"\r\n"


class Pool:
    """Notes what a connection tells its owner, with the time."""

    def __init__(self, *, full: bool = False) -> None:
        self.idle_within = IDLE
        self.keep_alive = KEEP_ALIVE
        self.full = full
        self.log: list[str] = []
        self.messages: list[bytes] = []

    def note(self, what: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():g} {what}")

    def admit(self, connection: Connection, local: Address, remote: Address) -> Flow | None:
        return None if self.full else FLOW

    def proven(self, connection: Connection) -> None:
        self.note("proven")

    def deliver(self, data: bytes, flow: Flow) -> None:
        self.messages.append(data)

    def gone(self, connection: Connection, why: str) -> None:
        self.note(f"gone {why}".rstrip())


class Wire(asyncio.Transport):
    """A socket's place. `sent`: all that went out."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.sent = b""
        self.closing = False
        self.eof = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": FLOW.local, "peername": FLOW.remote}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.connection.connection_lost(None)

    def abort(self) -> None:
        self.close()

    def write_eof(self) -> None:
        self.eof = True


def opened(pool: Pool, carrier: Carrier | None = None, flow: Flow | None = None) -> tuple[Connection, Wire]:
    connection = Connection(pool, "tcp", carrier or StreamCarrier(), None, flow)
    wire = Wire(connection)
    connection.connection_made(wire)
    return connection, wire


def test_a_silent_peer_is_dropped() -> None:
    async def scene() -> list[str]:
        pool = Pool()
        opened(pool)
        await asyncio.sleep(100)
        return pool.log

    assert run(scene()) == [f"{FIRST_MESSAGE_WITHIN:g} gone silent or slow"]


def test_a_slow_peer_is_dropped_though_it_goes_on() -> None:
    """An octet a second: no message within the time, and no end to it."""

    async def scene() -> list[str]:
        pool = Pool()
        connection, _ = opened(pool)
        for n in range(30):
            connection.data_received(MESSAGE[n : n + 1])
            await asyncio.sleep(1)
        return pool.log

    assert run(scene()) == [f"{FIRST_MESSAGE_WITHIN:g} gone silent or slow"]


def test_octets_one_by_one_make_a_message_in_time() -> None:
    async def scene() -> Pool:
        pool = Pool()
        connection, _ = opened(pool)
        for n in range(len(MESSAGE)):
            connection.data_received(MESSAGE[n : n + 1])
            await asyncio.sleep(0.1)
        return pool

    pool = run(scene())
    assert pool.messages == [MESSAGE]
    assert [line.split()[1] for line in pool.log] == ["proven"]


def test_a_keep_alive_is_answered_and_gives_time() -> None:
    async def scene() -> tuple[list[str], bytes]:
        pool = Pool()
        connection, wire = opened(pool)
        await asyncio.sleep(8)
        connection.data_received(b"\r\n\r\n")
        await asyncio.sleep(100)
        return pool.log, wire.sent

    assert run(scene()) == ([f"{8 + FIRST_MESSAGE_WITHIN:g} gone silent or slow"], b"\r\n")


def test_once_proven_a_peer_may_be_silent_for_long() -> None:
    """But a message that it begins must end; and for ever is too long."""

    async def scene(rest: bytes) -> list[str]:
        pool = Pool()
        connection, _ = opened(pool)
        connection.data_received(MESSAGE)
        await asyncio.sleep(500)
        connection.data_received(b"\r\n\r\n")
        await asyncio.sleep(500)
        for octet in rest:
            connection.data_received(bytes([octet]))
            await asyncio.sleep(5)
        await asyncio.sleep(2 * IDLE)
        return pool.log

    assert run(scene(b"")) == ["0 proven", f"{500 + IDLE:g} gone silent or slow"]
    assert run(scene(b"REGISTER sip:a")) == ["0 proven", f"{1000 + MESSAGE_WITHIN:g} gone silent or slow"]


def test_what_cannot_be_framed_is_answered_and_ends_it() -> None:
    async def scene() -> tuple[Pool, Wire]:
        pool = Pool()
        connection, wire = opened(pool)
        head = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n"
        connection.data_received(head + b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: x\r\n\r\n")
        connection.data_received(MESSAGE)
        assert wire.eof
        assert not wire.closing  # what the peer still sends must not reset the connection under our answer
        assert not connection.send(MESSAGE)
        await asyncio.sleep(60)
        return pool, wire

    pool, wire = run(scene())
    assert wire.sent.startswith(b"SIP/2.0 400 ")
    assert wire.sent.count(b"SIP/2.0 400") == 1
    assert pool.log == [f"{LEAVE_WITHIN:g} gone"]
    assert pool.messages == []


def test_no_place_is_the_end() -> None:
    async def scene() -> tuple[Pool, bool]:
        pool = Pool(full=True)
        connection, wire = opened(pool)
        connection.data_received(MESSAGE)
        return pool, wire.closing

    pool, closing = run(scene())
    assert closing
    assert pool.messages == []


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async def scene() -> list[str]:
        pool = Pool()
        connection, _ = opened(pool)
        connection.pause_writing()
        return pool.log

    assert run(scene()) == ["0 gone the peer does not read"]


def test_a_connection_of_ours_says_at_once_what_waited() -> None:
    """And need not hear anything within the time that strangers have."""

    async def scene() -> tuple[bytes, list[str]]:
        pool = Pool()
        connection = Connection(pool, "tcp", StreamCarrier(), None, FLOW)
        connection.send(MESSAGE)
        connection.send(MESSAGE)
        wire = Wire(connection)
        connection.connection_made(wire)
        assert connection.ready
        assert connection.made.is_set()
        await asyncio.sleep(100)
        return wire.sent, pool.log

    assert run(scene()) == (MESSAGE * 2, [])


def test_a_quiet_websocket_is_pinged() -> None:
    async def scene() -> bytes:
        carrier = WebSocketCarrier()
        connection, wire = opened(Pool(), carrier)
        browser = Browser(carrier)
        browser.open()
        browser.messages.clear()
        connection.data_received(browser.socket.send(TextMessage(MESSAGE.decode())))
        sent = wire.sent
        await asyncio.sleep(2.5 * PING_EVERY)
        return wire.sent[len(sent) :]

    assert run(scene()) == b"\x89\x00" * 2


@pytest.mark.parametrize("carrier", [StreamCarrier, WebSocketCarrier])
def test_closing_twice_is_closing_once(carrier: type[Carrier]) -> None:
    async def scene() -> list[str]:
        pool = Pool()
        connection, _ = opened(pool, carrier())
        connection.close()
        connection.close()
        connection.abort()
        return pool.log

    assert run(scene()) == ["0 gone"]


# --- keep-alives of our own (RFC 5626 §3.5.1, §4.4.1)


async def _ours(pool: Pool) -> tuple[Connection, Wire]:
    return opened(pool, StreamCarrier(pings=True), FLOW)


def test_a_server_that_knows_no_pings_is_left_alone() -> None:
    async def scene() -> tuple[bytes, list[str]]:
        pool = Pool()
        _, wire = await _ours(pool)
        await asyncio.sleep(4 * KEEP_ALIVE + 1)
        return wire.sent, pool.log

    assert run(scene()) == (4 * PING, [])


def test_a_server_that_answered_once_and_does_no_more_is_gone() -> None:
    """Noticed a ping and PONG_WITHIN after its last word."""

    async def scene() -> tuple[bytes, list[str]]:
        pool = Pool()
        connection, wire = await _ours(pool)
        await asyncio.sleep(KEEP_ALIVE + 1)
        connection.data_received(PONG)
        await asyncio.sleep(200)
        return wire.sent, pool.log

    gone = KEEP_ALIVE + 1 + KEEP_ALIVE + PONG_WITHIN
    assert run(scene()) == (2 * PING, [f"{gone:g} gone no answer to a keep-alive"])


def test_whatever_a_server_says_is_a_sign_of_life() -> None:
    """A message, part of one, or its own ping, which is answered; pongs are not taken for pings, nor answered."""

    async def scene() -> tuple[bytes, list[str], int]:
        pool = Pool()
        connection, wire = await _ours(pool)
        await asyncio.sleep(KEEP_ALIVE + 1)
        for word in (PONG, PONG, PONG, MESSAGE, MESSAGE[:9], MESSAGE[9:], PONG, PONG + PING, PONG):
            connection.data_received(word)
            await asyncio.sleep(KEEP_ALIVE + 1)
        return wire.sent, pool.log, len(pool.messages)

    sent, log, messages = run(scene())
    assert log == []
    assert messages == 2
    assert sent == 10 * PING + PONG


def test_no_pings_while_there_is_talk() -> None:
    async def scene() -> bytes:
        pool = Pool()
        connection, wire = await _ours(pool)
        for _ in range(20):
            await asyncio.sleep(KEEP_ALIVE - 5)
            connection.data_received(MESSAGE)
        return wire.sent

    assert run(scene()) == b""
