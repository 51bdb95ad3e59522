"""The real thing, as a child of the demo: `callwright serve` for the demo's site, and an orderly end of it."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.plan import CannotStart
from engine.transport.addresses import Address, is_wildcard

START_WITHIN: Final = 30.0
STOP_WITHIN: Final = 45.0
"""The supervisor's own patience is 10 s for each of its four groups of processes."""
LAST_WORDS: Final = 12
READY: Final = b"is answering calls"


@dataclass(frozen=True, slots=True)
class Addresses:
    sip: Address
    """UDP, as it is reached from this machine."""
    http: str


class Hotline:
    """start, then ready, then stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._alive = -1
        self._said: deque[str] = deque(maxlen=LAST_WORDS)
        self._ready = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Not to be cancelled: who began it has to `stop` it."""
        theirs, self._alive = os.pipe()  # its end tells the hotline that we are gone, however that came
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.child", json.dumps({"alive": theirs})),
            *("app.serve", "--site", str(self._folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=[theirs],
            start_new_session=True,  # Ctrl-C is for us: callers hang up before the hotline closes
            env=_environment(),
        )
        os.close(theirs)
        self._reader = asyncio.create_task(self._read())

    async def ready(self) -> Addresses:
        """Returns when calls are answered. Raises CannotStart with what the hotline said last."""
        assert self._process is not None
        try:
            async with asyncio.timeout(START_WITHIN):
                await self._ready.wait()
        except TimeoutError:
            pass
        if self._process.returncode is not None or not self._listening.exists():
            raise CannotStart("the hotline did not start:\n  " + "\n  ".join(self._said))
        return self._addresses()

    @property
    def _listening(self) -> Path:
        return self._folder / "var" / "run" / "listening.json"

    def _addresses(self) -> Addresses:
        told = json.loads(self._listening.read_text())
        for text in told["sip"]:
            transport, _, rest = text.partition(":")
            host, _, port = rest.rpartition(":")
            if transport == "udp" and (host == "127.0.0.1" or is_wildcard(host)):
                return Addresses(("127.0.0.1", int(port)), told["http"])
        raise CannotStart("the hotline does not listen on 127.0.0.1")

    async def _read(self) -> None:
        """Keep the last of what it says: shown only when it fails."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._said.append(line.decode(errors="replace").rstrip())
            if READY in line:
                self._ready.set()
        await self._process.wait()
        self._ready.set()

    async def ended(self) -> None:
        """Raises CannotStart when the hotline ends by itself."""
        assert self._process is not None
        status = await self._process.wait()
        raise CannotStart(f"the hotline ended with {status}:\n  " + "\n  ".join(self._said))

    async def stop(self) -> int:
        """In order, then the hard way. Returns its exit status; 0 when it never ran."""
        if self._process is None:
            return 0
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        status = await self._process.wait()
        if self._reader is not None:
            await self._reader
        os.close(self._alive)
        return status

    def kill(self) -> None:
        """The supervisor at once; its children see its end and stop by themselves."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def _environment() -> dict[str, str]:
    """The hotline finds the same code as we do, wherever we were started from."""
    path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
