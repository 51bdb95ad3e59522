"""A small DNS server on the loopback, UDP and TCP, whose manners are attributes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HOST = "127.0.0.1"


class NameServer(asyncio.DatagramProtocol):
    """zone: (name with dot, kind) → records in zone file form. What it does not have is NXDOMAIN, with an SOA."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.ttl = 60
        self.negative_ttl = 30
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self.rcode: dns.rcode.Rcode | None = None
        """Answer this to everything."""
        self.truncated = False
        """By UDP; by TCP all is said."""
        self.mangle: Callable[[bytes], list[bytes]] = lambda answer: [answer]
        """Datagrams in place of one answer."""
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's is none by inheritance

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if self.silent:
            return
        response = self._answer(dns.message.from_wire(data))
        if self.truncated:
            response.answer.clear()
            response.flags |= dns.flags.TC
        for datagram in self.mangle(response.to_wire(max_size=65_535)):
            self._transport.sendto(datagram, addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while length := int.from_bytes(await reader.read(2), "big"):
                response = self._answer(dns.message.from_wire(await reader.readexactly(length)))
                wire = response.to_wire(max_size=65_535)
                writer.write(len(wire).to_bytes(2, "big") + wire)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        if self.rcode is not None:
            response.set_rcode(self.rcode)
            return response
        seen: set[str] = set()
        while ("CNAME" in kind or (name, kind) not in self.zone) and (name, "CNAME") in self.zone and name not in seen:
            seen.add(name)
            (alias,) = self.zone[name, "CNAME"]
            response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "CNAME", alias))
            name = alias
        if records := self.zone.get((name, kind)):
            response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *records))
        elif not response.answer:
            soa = f"ns.example. admin.example. 1 60 60 60 {self.negative_ttl}"
            response.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", soa))
            if not any(owner == name for owner, _ in self.zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
        return response


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, (HOST, 0))
    server.port = transport.get_extra_info("sockname")[1]
    by_tcp = await asyncio.start_server(server.stream, HOST, server.port)
    try:
        yield server
    finally:
        transport.close()
        by_tcp.close()
        await asyncio.sleep(0.05)
