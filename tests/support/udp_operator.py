"""The scripted operator on a real UDP socket of the loopback, in a thread with a loop of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import cast

from engine.sip.flow import Flow
from tests.support.operator import Operator

HOST = "127.0.0.1"
CLOSING = 0.05
"""Seconds in which the socket closes."""


class _Endpoint(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.operator: Operator | None = None
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # a selector's is none by inheritance
        self.port = transport.get_extra_info("sockname")[1]
        self.operator = Operator("operator", Flow("udp", (HOST, 9), (HOST, self.port)), self.send)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.operator is not None
        self.operator.flow = Flow("udp", addr, (HOST, self.port))  # answers go where requests come from
        self.operator.receive(data)

    def send(self, data: bytes, flow: Flow) -> None:
        assert self._transport is not None
        self._transport.sendto(data, flow.local)


@contextlib.contextmanager
def operating() -> Iterator[tuple[Operator, int]]:
    """An operator and its port. Its attributes may be set from any thread: they are read once a message."""
    loop = asyncio.new_event_loop()
    made = loop.run_until_complete(loop.create_datagram_endpoint(_Endpoint, local_addr=(HOST, 0)))
    transport, endpoint = made
    assert endpoint.operator is not None
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield endpoint.operator, endpoint.port
    finally:
        loop.call_soon_threadsafe(transport.close)
        loop.call_soon_threadsafe(loop.call_later, CLOSING, loop.stop)
        thread.join()
        loop.close()
