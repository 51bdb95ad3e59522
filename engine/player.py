"""What a caller hears from us: clips, and music beneath them."""

import asyncio
from collections.abc import Sequence

from engine.media.plane import PlayDone, PlayId
from engine.stream import Stream


class Player:
    """Plays on one stream. The latest play is heard; one that it replaced ends as if a key had cut it short."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._last = PlayId(0)
        self._waiting: dict[PlayId, asyncio.Future[PlayDone]] = {}
        self._barging = PlayId(0)  # the play that a key ends
        self._music = ""

    async def play(self, clips: Sequence[str], *, barge_in: bool) -> PlayDone:
        """Returns when the plane says that it is over. Only while the stream is usable."""
        play = self._next()
        waiter: asyncio.Future[PlayDone] = asyncio.get_running_loop().create_future()
        self._waiting[play] = waiter
        self._barging = play if barge_in else PlayId(0)
        self._stream.plane.play(self._stream.port, play, clips, loop=False, barge_in=barge_in)
        try:
            return await waiter
        finally:
            del self._waiting[play]
            if self._music and not self._waiting:
                self._loop()
            elif play == self._last and not waiter.done():
                self._stop()

    def done(self, event: PlayDone) -> None:
        """The plane's report of any play on this stream."""
        waiter = self._waiting.get(event.play)
        if waiter is not None and not waiter.done():
            waiter.set_result(event)

    def barge(self) -> None:
        """A key that the plane has not seen (SIP INFO)."""
        if self._barging == self._last and self._last in self._waiting:
            self._stop()

    def start_music(self, clip: str) -> None:
        """Loop it beneath what is played; from now if the stream is usable, else from `resume`."""
        self._music = clip
        self.resume()

    def resume(self) -> None:
        """The stream has become usable."""
        if self._music and not self._waiting:
            self._loop()

    def stop_music(self) -> None:
        if self._music:
            self._music = ""
            if not self._waiting:
                self._stop()

    def silence(self) -> None:
        """Nothing of ours is heard any more: the caller is about to talk to somebody."""
        if self._music or self._waiting:
            self._music = ""
            self._stop()

    def _next(self) -> PlayId:
        self._last = PlayId(self._last + 1)
        return self._last

    def _loop(self) -> None:
        if self._stream.usable:
            self._stream.plane.play(self._stream.port, self._next(), [self._music], loop=True, barge_in=False)

    def _stop(self) -> None:
        if self._stream.usable:
            self._stream.plane.stop(self._stream.port)
