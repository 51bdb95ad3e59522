"""The plane as the control process sees it: the same methods, sent to a media process over its UNIX socket."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from engine.media import protocol
from engine.media.plane import MediaEvent, PlaneError, PlayId, PortId, Remote
from engine.media.protocol import (
    Command,
    Frames,
    Hello,
    Loaded,
    Opened,
    ProtocolError,
    Refused,
    Reply,
    ToControl,
)

COMMANDS_A_FRAME = 50
"""Of the longest commands too: a play of 64 clips by path."""
Events = Callable[[MediaEvent], None]
Soon = Callable[[Callable[[], None]], object]
After = Callable[[Hello], int]


class PlaneClient(asyncio.Protocol):
    """A Plane. Commands of one turn of the loop leave together; `flush` sends them before.

    When the process is lost, whoever waits in open or load gets PlaneError, later commands do nothing, and `lost` is
    called once."""

    def __init__(self, events: Events, lost: Callable[[], None] | None, soon: Soon | None, after: After) -> None:
        """Use `connect`."""
        self.hello: Hello
        """Set before `connect` returns: the media process's name, and the ports open from before."""
        self.seen = 0
        """Number of the latest event that `events` was given."""
        self.acknowledged = 0
        """Number of the latest that the media process was told to forget."""
        self._events = events
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._soon: Soon = soon or self._loop.call_soon
        self._after = after
        self._greeting: asyncio.Future[None] = self._loop.create_future()
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._request = 0
        self._batch: list[Command] = []

    async def greet(self, path: str) -> None:
        """See `connect`."""
        await self._loop.create_unix_connection(lambda: self, path)
        await self._greeting
        self.seen = self.acknowledged = self._after(self.hello)
        self._request += 1
        await self._ask(protocol.Resume(self._request, self.seen))

    async def aclose(self) -> None:
        """Part from the media process; what is open there stays open."""
        self.flush()
        self._lost = None
        if self._transport is not None:
            self._transport.close()

    # --- the plane ---

    @property
    def name(self) -> str:
        return self.hello.name

    async def open(self, host: str, *, rtp_timeout: float = 0.0, rtp_port: int = 0) -> tuple[PortId, int]:
        self._request += 1
        reply = await self._ask(protocol.Open(self._request, host, rtp_timeout, rtp_port))
        assert isinstance(reply, Opened)
        return reply.port, reply.rtp_port

    async def load(self, clips: Sequence[str]) -> dict[str, float]:
        self._request += 1
        reply = await self._ask(protocol.Load(self._request, list(clips)))
        assert isinstance(reply, Loaded)
        return reply.seconds

    def connect(self, port: PortId, remote: Remote) -> None:
        self._send(protocol.Connect(port, remote))

    def play(self, port: PortId, play: PlayId, clips: Sequence[str], *, loop: bool, barge_in: bool) -> None:
        self._send(protocol.Play(port, play, list(clips), loop, barge_in))

    def stop(self, port: PortId) -> None:
        self._send(protocol.Stop(port))

    def bridge(self, a: PortId, b: PortId) -> None:
        self._send(protocol.Bridge(a, b))

    def mix(self, ports: Sequence[PortId], hears: Sequence[Sequence[PortId]]) -> None:
        self._send(protocol.Mix(list(ports), [list(heard) for heard in hears]))

    def unbridge(self, a: PortId) -> None:
        self._send(protocol.Unbridge(a))

    def record(self, left: PortId, right: PortId, path: str, also: Sequence[PortId] = ()) -> None:
        self._send(protocol.Record(left, right, path, list(also)))

    def stop_recording(self, left: PortId) -> None:
        self._send(protocol.StopRecording(left))

    def send_dtmf(self, port: PortId, digit: str, duration_ms: int = 160) -> None:
        self._send(protocol.SendDtmf(port, digit, duration_ms))

    def close(self, port: PortId) -> None:
        self._send(protocol.Close(port))

    def acknowledge(self) -> None:
        """What follows from the events up to `seen` is written down."""
        self.acknowledged = self.seen
        self._send(protocol.Seen(self.seen))

    def reset(self) -> None:
        """Close every port of the media process, those from before this connection too."""
        self._send(protocol.Reset())

    # --- the socket ---

    async def _ask(self, command: protocol.Open | protocol.Load | protocol.Resume) -> Reply:
        if self._transport is None:
            raise PlaneError("the media process is lost")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[command.request] = future
        self._send(command)
        try:
            reply = await future
        except asyncio.CancelledError:
            self._give_back(future)
            raise
        if isinstance(reply, Refused):
            raise PlaneError(reply.reason)
        return reply

    def _give_back(self, future: "asyncio.Future[Reply]") -> None:
        """Nobody waits for this any more: a port that was, or will be, opened for it is closed."""
        if future.done() and not future.cancelled() and future.exception() is None:
            reply = future.result()
            if isinstance(reply, Opened):
                self.close(reply.port)

    def _send(self, command: Command) -> None:
        if self._transport is None:
            return
        if not self._batch:
            self._soon(self.flush)
        self._batch.append(command)

    def flush(self) -> None:
        """Send what has gathered."""
        batch, self._batch = self._batch, []
        for at in range(0, len(batch), COMMANDS_A_FRAME):
            if self._transport is not None:
                self._transport.write(protocol.encode(batch[at : at + COMMANDS_A_FRAME]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        error = PlaneError("the media process is lost")
        if not self._greeting.done():
            self._greeting.set_exception(error)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        if self._lost is not None:
            self._lost()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._frames.feed(data, ToControl)
        except ProtocolError:
            if self._transport is not None:
                self._transport.abort()
            return
        for frame in frames:
            for reply in frame.replies:
                self._replied(reply)
            if frame.first:
                self.seen = frame.first + len(frame.events) - 1
            for event in frame.events:
                self._events(event)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply, Hello):
            self.hello = reply
            if not self._greeting.done():
                self._greeting.set_result(None)
            return
        future = self._waiting.pop(reply.request, None)
        if future is not None and not future.done():
            future.set_result(reply)
        elif isinstance(reply, Opened):
            self.close(reply.port)  # whoever asked for it was cancelled meanwhile


async def connect(
    path: str,
    *,
    events: Events,
    lost: Callable[[], None] | None = None,
    soon: Soon | None = None,
    after: After = lambda _: 0,
) -> PlaneClient:
    """A plane in the media process that listens at `path`. `events` gets each MediaEvent, in order.

    soon: calls `flush` when the commands of this turn of the loop may leave; None: at its end.
    after: the number of the last event that the control process before this one has seen, of this instance of the
    media process. When this returns, `events` was given all later ones that have happened already.
    Raises OSError when nobody listens, PlaneError when it says no Hello."""
    client = PlaneClient(events, lost, soon, after)
    await client.greet(path)
    return client
