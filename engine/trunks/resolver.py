"""Addresses of targets that are given by name. A call never waits for it: it looks at what is known."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

import structlog

from engine.transport.addresses import parse_ip

log = structlog.get_logger()

Lookup = Callable[[str], Awaitable[list[str]]]
"""Name → addresses, best first. Raises OSError."""
LOOKUP_WITHIN = 5.0
ADDRESSES_MAX = 8


async def system_lookup(host: str) -> list[str]:
    """/etc/hosts and DNS, as the machine is set up (A and AAAA; no SRV), in a thread of the loop's."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:ADDRESSES_MAX]


class Resolver:
    """`refresh` asks; `addresses` answers at once. What was known stays known while a name server is silent."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._known: dict[str, list[str]] = {}

    def addresses(self, host: str) -> list[str]:
        return [host] if parse_ip(host) is not None else self._known.get(host, [])

    async def refresh(self, hosts: Iterable[str]) -> bool:
        """Ask for each name. False when one of them has no address at all yet."""
        names = [host for host in dict.fromkeys(hosts) if parse_ip(host) is None]
        await asyncio.gather(*map(self._ask, names))
        return all(name in self._known for name in names)

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOKUP_WITHIN):
                found = await self._lookup(name)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name can have
            log.warning("name not resolved", host=name, error=str(error), known=self._known.get(name, []))
            return
        if found:
            self._known[name] = found
