"""Links that lose packets, in user space (this kind of kernel has no netem): what phones and a hotline under test are
joined by. Losses are drawn from a seeded generator, each direction for itself.

    python -m bench.impair IFACE IFACE --loss 0.1      # frames between two interfaces, see bench/lossy.py
"""

import argparse
import asyncio
import contextlib
import random
import socket
import struct
from typing import cast

from bench.endpoint import Endpoint

BUFFER = 4 << 20
READS = 256
Address = tuple[str, int]


class Relay:
    """Between phones and a server on one machine. Phones send all they have to `inner`; the server meets them at
    `outer`, which they name as their own address."""

    def __init__(self, server: Address, loss: float, seed: int, host: str = "127.0.0.1") -> None:
        self._loop = asyncio.get_running_loop()
        self._server, self._loss, self._chance = server, loss, random.Random(seed)
        self._phones: Address | None = None
        self.lost = self.carried = 0
        self._inner, self._outer = self._open(host), self._open(host)
        self.inner: Address = self._inner.getsockname()
        self.outer: Address = self._outer.getsockname()
        self._loop.add_reader(self._inner, self._from_phones)
        self._loop.add_reader(self._outer, self._from_server)

    @staticmethod
    def _open(host: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        made.setblocking(False)
        made.bind((host, 0))
        return made

    def _carry(self, source: socket.socket, sink: socket.socket, to: Address | None) -> None:
        for _ in range(READS):
            try:
                data, self_address = source.recvfrom(65_535)
            except BlockingIOError:
                return
            except OSError:  # ICMP unreachable of an earlier send
                continue
            if source is self._inner:
                self._phones = cast(Address, self_address)
            if self._chance.random() < self._loss:
                self.lost += 1
            elif to is not None:
                self.carried += 1
                with contextlib.suppress(OSError):
                    sink.sendto(data, to)

    def _from_phones(self) -> None:
        self._carry(self._inner, self._outer, self._server)

    def _from_server(self) -> None:
        self._carry(self._outer, self._inner, self._phones)

    def close(self) -> None:
        for each in (self._inner, self._outer):
            self._loop.remove_reader(each)
            each.close()


class Behind(Endpoint):
    """Phones behind a relay."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay.inner[0])
        self._relay = relay
        self.sent_by = f"{relay.outer[0]}:{relay.outer[1]}"

    def send(self, data: bytes, target: Address) -> None:
        super().send(data, self._relay.inner)

    def close(self) -> None:
        super().close()
        self._relay.close()


# --- frames between two interfaces ------------------------------------------------------------------------------------

ETHERNET, IPV4, UDP = 14, 0x0800, 17


class Bridge:
    """Ethernet frames from one interface to the other; of those with UDP some are lost."""

    def __init__(self, one: str, other: str, loss: float, seed: int) -> None:
        self._loss, self._chance = loss, random.Random(seed)
        self._sockets = [self._open(name) for name in (one, other)]

    @staticmethod
    def _open(name: str) -> socket.socket:
        every = 0x0003
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        made.bind((name, every))
        made.setblocking(False)
        return made

    def join(self, loop: asyncio.AbstractEventLoop) -> None:
        one, other = self._sockets
        loop.add_reader(one, self._carry, one, other)
        loop.add_reader(other, self._carry, other, one)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        for _ in range(READS):
            try:
                frame, (_, _, kind, *_) = source.recvfrom(65_535)
            except BlockingIOError:
                return
            if kind == socket.PACKET_OUTGOING:  # what we put there ourselves
                continue
            start = _udp(frame)
            if start:
                if self._chance.random() < self._loss:
                    continue
                # The sender left the checksum to a card that is not there: 0 says that there is none (RFC 768).
                frame = frame[: start + 6] + b"\0\0" + frame[start + 8 :]
            with contextlib.suppress(BlockingIOError):
                sink.send(frame)


def _udp(frame: bytes) -> int:
    """Where the UDP header of a frame begins; 0 when it has none."""
    if len(frame) < ETHERNET + 28 or struct.unpack_from("!H", frame, 12)[0] != IPV4 or frame[ETHERNET + 9] != UDP:
        return 0
    return ETHERNET + 4 * (frame[ETHERNET] & 15)


async def _bridge(options: argparse.Namespace) -> None:
    Bridge(options.one, options.other, options.loss, options.seed).join(asyncio.get_running_loop())
    print("joined", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one")
    parser.add_argument("other")
    parser.add_argument("--loss", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_bridge(parser.parse_args()))
