"""The far ends' audio, in a process of its own: nothing that the SIP side does may make it late.

    python -m bench.faults.sound --ends 60

Far end k is UDP socket k. What it hears is kept with the kernel's time of arrival; what it says is a tone of its own
with numbered packets (tones.py). First line out: {"ports": [...]}. Lines in, words apart by blanks:

    talk K HOST PORT        say it every 20 ms to that address from now on (or: there, rather than where it went)
    hush K
    save PATH               all since the last save as NumPy arrays (heard.py reads them); answers {"saved": PATH}

End of input ends the process.
"""

import argparse
import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.faults.heard import Capture, load
from bench.faults.tones import FRAME, PER_SECOND, TAG, frames, tag

HOST = "127.0.0.1"
SLOT = 0.005
"""Seconds; far end k speaks in slot k % SLOTS of each 20 ms."""
SLOTS = 4
SO_TIMESTAMPNS = 35
HEADER = struct.Struct("!BBHII")
STAMP = struct.Struct("@ll")
PCMU = 0
LATE = 0.5
"""Seconds; a process that was stopped for longer does not make up for what it did not say."""


@dataclass(slots=True)
class End:
    """One far end."""

    number: int
    socket: socket.socket
    tone: list[bytes]
    to: tuple[str, int] | None = None
    packets: int = 0


@dataclass(slots=True)
class Sound:
    """The loop. `heard`: (end, ns, payload); `said`: (end, packet number, ns)."""

    ends: list[End]
    heard: list[tuple[int, int, bytes]] = field(default_factory=list)
    said: list[tuple[int, int, int]] = field(default_factory=list)
    _rest: bytes = b""
    _sockets: dict[int, End] = field(default_factory=dict)

    def run(self) -> None:
        poll = select.epoll()
        self._sockets = {end.socket.fileno(): end for end in self.ends}
        for fd in self._sockets:
            poll.register(fd, select.EPOLLIN)
        os.set_blocking(0, False)
        poll.register(0, select.EPOLLIN)
        due, slot, going = time.monotonic(), 0, True
        while going:
            due += SLOT
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -LATE:
                due -= wait
            self._say(slot)
            slot = (slot + 1) % SLOTS
            for fd, _ in poll.poll(0):
                if fd == 0:
                    going = self._commands()
                else:
                    self._hear(self._sockets[fd])

    def _say(self, slot: int) -> None:
        for end in self.ends[slot::SLOTS]:
            if end.to is None:
                continue
            n = end.packets
            head = HEADER.pack(0x80, PCMU, n & 0xFFFF, n * FRAME & 0xFFFFFFFF, 0x1000 + end.number)
            with contextlib.suppress(OSError):
                end.socket.sendto(head + tag(end.number, n) + end.tone[n % PER_SECOND][TAG:], end.to)
            self.said.append((end.number, n, time.time_ns()))
            end.packets += 1

    def _hear(self, end: End) -> None:
        for _ in range(64):
            try:
                data, extra, _, _ = end.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            except OSError:  # ICMP unreachable: nobody is there (any more)
                continue
            if len(data) == 12 + FRAME and data[1] & 0x7F == PCMU:
                seconds, ns = STAMP.unpack(extra[0][2])
                self.heard.append((end.number, seconds * 1_000_000_000 + ns, data[12:]))

    def _commands(self) -> bool:
        data = os.read(0, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["talk", end, host, port]:
                    self.ends[int(end)].to = (host, int(port))
                case ["hush", end]:
                    self.ends[int(end)].to = None
                case ["save", path]:
                    self._save(Path(path))
        return bool(data)

    def _save(self, path: Path) -> None:
        heard, said = self.heard, self.said
        self.heard, self.said = [], []
        payloads = np.frombuffer(b"".join(payload for _, _, payload in heard), np.uint8).reshape(-1, FRAME)
        np.savez(
            path,
            heard_end=np.array([end for end, _, _ in heard], np.int32),
            heard_ns=np.array([at for _, at, _ in heard], np.int64),
            payloads=payloads,
            said_end=np.array([end for end, _, _ in said], np.int32),
            said_number=np.array([number for _, number, _ in said], np.int64),
            said_ns=np.array([at for _, _, at in said], np.int64),
        )
        sys.stdout.write(json.dumps({"saved": str(path)}) + "\n")
        sys.stdout.flush()


def _open() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setblocking(False)
    made.bind((HOST, 0))
    return made


class SoundProcess:
    """The process above, seen from the runner. `ports[k]`: UDP port of far end k."""

    def __init__(self, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self._process, self.ports = process, ports

    @classmethod
    async def start(cls, ends: int) -> "SoundProcess":
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "bench.faults.sound", "--ends", str(ends)]
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        with contextlib.suppress(PermissionError):  # beside other work it must still speak in time
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline())["ports"])

    def address(self, end: int) -> tuple[str, int]:
        return HOST, self.ports[end]

    def talk(self, end: int, to: tuple[str, int]) -> None:
        self._send(f"talk {end} {to[0]} {to[1]}")

    def hush(self, end: int) -> None:
        self._send(f"hush {end}")

    async def capture(self, path: Path) -> Capture:
        """All that was said and heard since the last capture."""
        assert self._process.stdout is not None
        self._send(f"save {path}")
        await self._process.stdout.readline()
        return await asyncio.to_thread(_take, path)

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")


def _take(path: Path) -> Capture:
    captured = load(path)
    path.unlink()
    return captured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ends", type=int, default=60)
    count = parser.parse_args().ends
    ends = [End(number, _open(), frames(number)) for number in range(count)]
    sys.stdout.write(json.dumps({"ports": [end.socket.getsockname()[1] for end in ends]}) + "\n")
    sys.stdout.flush()
    Sound(ends).run()


if __name__ == "__main__":
    main()
