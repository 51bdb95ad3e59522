"""What a caller hears from us: clips, and music beneath them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from engine.media.plane import PlayDone, PlayId, PortId
from engine.saved import PlayerState
from engine.stream import Stream


@dataclass(slots=True, eq=False)
class _Play:
    """One that somebody waits for. id: another one each time it is begun."""

    id: PlayId
    clips: Sequence[str]
    barge_in: bool
    done: asyncio.Future[PlayDone]


class Player:
    """Plays on one stream. The latest play is heard; one that it replaced ends as if a key had cut it short. What the
    stream loses with its port begins again at the next one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._last = PlayId(0)
        self._plays: list[_Play] = []
        self._music = ""
        self._looping = False
        """The music goes on from before: who starts the same again, does not."""

    def state(self) -> PlayerState:
        """For `restore`."""
        return PlayerState(self._last, self._music)

    def restore(self, state: PlayerState, *, looping: bool) -> None:
        """looping: the music still plays, and need not begin again."""
        self._last, self._music = PlayId(state.last), state.music
        self._looping = looping and bool(state.music)

    async def play(self, clips: Sequence[str], *, barge_in: bool) -> PlayDone:
        """Returns when the plane says that it is over."""
        play = _Play(PlayId(0), clips, barge_in, asyncio.get_running_loop().create_future())
        self._plays.append(play)
        self._begin(play)
        try:
            return await play.done
        finally:
            self._plays.remove(play)
            if self._music and not self._plays:
                self._loop()
            elif play.id == self._last and not play.done.done():
                self._stop()

    def done(self, event: PlayDone) -> None:
        """The plane's report of any play on this stream."""
        for play in self._plays:
            if play.id == event.play and not play.done.done():
                play.done.set_result(event)

    def barge(self) -> None:
        """A key that the plane has not seen (SIP INFO)."""
        if (play := self._heard) is not None and play.barge_in:
            self._stop()

    def lost(self) -> None:
        """The stream has no port any more: no report of a play will come."""
        for play in self._plays:
            if play is not self._heard:
                _cut_short(play)

    def go_on(self) -> None:
        """The stream has another port: what was heard begins again."""
        self._looping = False
        if (play := self._heard) is not None:
            self._begin(play)
        else:
            self.resume()

    def start_music(self, clip: str) -> None:
        """Loop it beneath what is played; from now if the stream is usable, else from `resume`."""
        goes_on, self._looping = self._looping and clip == self._music, False
        self._music = clip
        if not goes_on:
            self.resume()

    def resume(self) -> None:
        """The stream has become usable."""
        if self._music and not self._plays:
            self._loop()

    def stop_music(self) -> None:
        if self._music:
            self._music = ""
            if not self._plays:
                self._stop()

    def silence(self) -> None:
        """Nothing of ours is heard any more: the caller is about to talk to somebody."""
        if self._music or self._plays:
            self._music = ""
            self._stop()

    @property
    def _heard(self) -> _Play | None:
        return next((play for play in self._plays if play.id == self._last and not play.done.done()), None)

    def _begin(self, play: _Play) -> None:
        self._looping = False
        play.id = self._next()
        if self._stream.usable:
            plane, port = self._stream.plane, self._stream.port
            plane.play(port, play.id, play.clips, loop=False, barge_in=play.barge_in)

    def _next(self) -> PlayId:
        self._last = PlayId(self._last + 1)
        return self._last

    def _loop(self) -> None:
        if self._stream.usable:
            self._stream.plane.play(self._stream.port, self._next(), [self._music], loop=True, barge_in=False)

    def _stop(self) -> None:
        if self._stream.usable:
            self._stream.plane.stop(self._stream.port)
        elif (play := self._heard) is not None:
            _cut_short(play)


def _cut_short(play: _Play) -> None:
    if not play.done.done():
        play.done.set_result(PlayDone(PortId(0), play.id, False, 0.0))
