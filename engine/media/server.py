"""The media process: `python -m engine.media.server --socket PATH --name m0 --ports 20000-29999 --recordings DIR`.

Packets live in the core's thread. This loop only hands commands over from the control process and events back; when
control goes, audio goes on, and the next control to connect is told of the ports that are open. SIGTERM and SIGINT
end recordings and close everything.
"""

import argparse
import asyncio
import gc
import logging
import os
import random
import resource
import secrets
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from engine.media import protocol
from engine.media.core import native_core
from engine.media.local import LocalPlane
from engine.media.plane import MediaEvent, PlaneError, PortClosed
from engine.media.protocol import (
    Command,
    Frames,
    Hello,
    Loaded,
    Opened,
    ProtocolError,
    Refused,
    Reply,
    Resumed,
    ToControl,
)
from kernel.heartbeat import beat

HEALTH_INTERVAL = 5.0
KEPT_EVENTS = 10_000
"""Events that no control process has Seen yet; the oldest go first."""
MAX_UNSENT = 8 << 20
"""Octets that a control process may leave unread before it is let go."""
CLOSING_TIME = 5.0
EVENTS_A_FRAME = 200
log = logging.getLogger("callwright.media")


class Service:
    """One plane and at most one control connection: the newest."""

    def __init__(self, plane: LocalPlane, name: str) -> None:
        self._plane = plane
        self._name = name
        self._instance = secrets.token_hex(8)
        self._control: Session | None = None
        self._listens = False  # it has said Resume
        self._unseen: deque[tuple[int, MediaEvent]] = deque(maxlen=KEPT_EVENTS)
        self._number = 0
        self.idle = asyncio.Event()

    def connected(self, session: "Session") -> None:
        if self._control is not None:
            self._control.drop("another control process came")
        self._control = session
        self._listens = False
        session.send([Hello(self._name, self._instance, self._plane.states())])

    def disconnected(self, session: "Session") -> None:
        if self._control is session:
            self._control = None

    def obey(self, session: "Session", commands: list[Command]) -> None:
        """One batch, in order; then the core sees it at once."""
        replies: list[Reply] = []
        for command in commands:
            try:
                reply = self._obey(command)
            except PlaneError as error:
                log.warning("%s: %s", type(command).__name__, error)
                reply = (
                    Refused(command.request, str(error)) if isinstance(command, protocol.Open | protocol.Load) else None
                )
            if reply is not None:
                replies.append(reply)
        self._plane.flush()
        session.send(replies)
        self.pump()

    def _obey(self, command: Command) -> Reply | None:  # noqa: C901, PLR0912 - one line for each command
        plane = self._plane
        match command:
            case protocol.Resume(request, after):
                self._resume(after)
                return Resumed(request)
            case protocol.Seen(number):
                while self._unseen and self._unseen[0][0] <= number:
                    self._unseen.popleft()
            case protocol.Open(request, host, rtp_timeout, rtp_port):
                return Opened(request, *plane.open(host, rtp_timeout=rtp_timeout, rtp_port=rtp_port))
            case protocol.Load(request, clips):
                return Loaded(request, plane.load(clips))
            case protocol.Connect(port, remote):
                plane.connect(port, remote)
            case protocol.Play(port, play, clips, loop, barge_in):
                plane.play(port, play, clips, loop=loop, barge_in=barge_in)
            case protocol.Stop(port):
                plane.stop(port)
            case protocol.Bridge(a, b):
                plane.bridge(a, b)
            case protocol.Mix(members, hears):
                plane.mix(members, hears)
            case protocol.Unbridge(port):
                plane.unbridge(port)
            case protocol.Record(left, right, path, also):
                plane.record(left, right, path, also)
            case protocol.StopRecording(left):
                plane.stop_recording(left)
            case protocol.SendDtmf(port, digit, duration_ms):
                plane.send_dtmf(port, digit, duration_ms)
            case protocol.Close(port):
                plane.close(port)
            case protocol.Reset():
                plane.close_all()
        return None

    def pump(self) -> None:
        """Take the core's events to control, or keep them for the next one."""
        events = self._plane.poll()
        if any(isinstance(event, PortClosed) for event in events) and not self._plane.in_use:
            self.idle.set()
        self._give(events)

    def report(self) -> None:
        if self._control is not None and self._listens:
            self._control.tell([self._plane.health()], 0)

    def _resume(self, after: int) -> None:
        self._listens = True
        again = [(number, event) for number, event in self._unseen if number > after]
        if again and self._control is not None:
            self._control.tell([event for _, event in again], again[0][0])

    def _give(self, events: list[MediaEvent]) -> None:
        first = self._number + 1
        self._number += len(events)
        self._unseen.extend(enumerate(events, first))
        if self._control is not None and self._listens:
            self._control.tell(events, first)

    async def close(self) -> None:
        """Close all ports; returns when their recordings are on the disk, at the latest after CLOSING_TIME."""
        if not self._plane.in_use:
            return
        self.idle.clear()
        self._plane.close_all()
        self._plane.flush()
        try:
            await asyncio.wait_for(self.idle.wait(), CLOSING_TIME)
        except TimeoutError:
            log.error("recordings not finished in %s s; repair them with `callwright recordings repair`", CLOSING_TIME)


class Session(asyncio.Protocol):
    """A connection from control."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._service.disconnected(self)

    def data_received(self, data: bytes) -> None:
        try:
            batches = self._frames.feed(data, list[Command])
        except ProtocolError as error:
            self.drop(str(error))
            return
        for batch in batches:
            self._service.obey(self, batch)

    def send(self, replies: list[Reply]) -> None:
        for at in range(0, len(replies), EVENTS_A_FRAME):
            self._write(protocol.encode(ToControl(replies[at : at + EVENTS_A_FRAME], [])))

    def tell(self, events: list[MediaEvent], first: int) -> None:
        """first: number of the first of them; 0: they have none."""
        for at in range(0, len(events), EVENTS_A_FRAME):
            number = first + at if first else 0
            self._write(protocol.encode(ToControl([], events[at : at + EVENTS_A_FRAME], number)))  # type: ignore[arg-type]

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.drop("control does not read")
            return
        self._transport.write(frame)

    def drop(self, why: str) -> None:
        log.warning("control connection ended: %s", why)
        if self._transport is not None:
            self._transport.abort()


def _threads(targets: list[Callable[[], None]]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


async def serve(path: Path, name: str, ports: range, recordings: Path, beat_fd: int = -1) -> None:
    """Until SIGTERM or SIGINT. beat_fd: of the pipe for signs of life."""
    core = native_core(len(ports) // 2)
    threads = _threads([core.run, core.run_writer])
    plane = LocalPlane(core, ports=ports, recordings=recordings, chance=random.SystemRandom())
    service = Service(plane, name)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(core.event_fd, service.pump)
    server = await loop.create_unix_server(lambda: Session(service), sock=_listener(path))
    log.info("%s listens on %s", name, path)
    gc.freeze()
    tasks = [asyncio.create_task(_health(service)), asyncio.create_task(beat(beat_fd))]
    await stop.wait()
    server.close()
    for task in tasks:
        task.cancel()
    await service.close()
    loop.remove_reader(core.event_fd)
    core.halt()
    for thread in threads:
        thread.join(1.0)


def _listener(path: Path) -> socket.socket:
    """A UNIX socket that only our own user may use, in place of one that a dead process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


async def _health(service: Service) -> None:
    while True:
        await asyncio.sleep(HEALTH_INTERVAL)
        service.report()


def _port_range(text: str) -> range:
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1)
    if not 1024 <= ports.start < ports.stop <= 65536:
        raise ValueError(text)
    return ports


def _raise_descriptor_limit(ports: int) -> None:
    """Each UDP port is a descriptor, each recording another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ports + ports // 4 + 100
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="engine.media.server", description="A media process of Callwright.")
    parser.add_argument("--socket", type=Path, required=True, help="UNIX socket to listen on")
    parser.add_argument("--name", default="m0")
    parser.add_argument("--ports", type=_port_range, default=range(20000, 30000), help="UDP ports: 20000-29999")
    parser.add_argument("--recordings", type=Path, required=True, help="folder that all recordings go below")
    parser.add_argument("--beat-fd", type=int, default=-1, help="pipe for signs of life")
    args = parser.parse_args()
    _raise_descriptor_limit(len(args.ports))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    asyncio.run(serve(args.socket, args.name, args.ports, args.recordings, args.beat_fd))
    args.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
