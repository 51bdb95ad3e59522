"""A proxy hop for SIPp, which knows MD5 only and takes the first challenge for the only one (RFC 7616 §3.7 says to
pass over those one does not know): it takes the others out of the answers on their way.
"""

import asyncio
import re
import uuid
from typing import cast

BRANCH = b"z9hG4bKmd5only"


class OnlyMd5(asyncio.DatagramProtocol):
    """Adds its own Via to requests and takes it off the responses (RFC 3261 §16.6, §16.7); nothing else of a proxy."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._branch = BRANCH + uuid.uuid4().hex.encode()
        self._client: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, address: tuple[str, int], server: tuple[str, int]) -> "OnlyMd5":
        _, hop = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(server), local_addr=address)
        return hop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str | int, int]) -> None:
        assert self._transport is not None
        if not data.startswith(b"SIP/2.0"):
            self._client = cast(tuple[str, int], source)
            host, port = self._transport.get_extra_info("sockname")
            sequence = re.search(rb"CSeq: (\d+)", data)
            number = sequence[1] if sequence else b""
            via = b"\r\nVia: SIP/2.0/UDP %s:%d;branch=%s%s\r\n" % (host.encode(), port, self._branch, number)
            self._transport.sendto(data.replace(b"\r\n", via, 1), self._server)
        elif self._client is not None:
            data = re.sub(rb"Via:[^\r]*" + BRANCH + rb"[^\r]*\r\n", b"", data, count=1)
            data = re.sub(rb"WWW-Authenticate:(?![^\r]*algorithm=MD5)[^\r]*\r\n", b"", data)
            self._transport.sendto(data, self._client)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
