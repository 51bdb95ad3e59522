"""Where the layers of an application are with a call, kept so that another process can go on from there.

Theory of operation. An application is a stack of coroutines (a flow, in it a queue, in it a talk). Each layer enters a
frame, sets its place in it whenever that changes, and leaves it. What is set is saved with the call. After the death of
the process the application is started on the call as ever; each layer that enters is given back the place that it had,
in the same order, until one begins that was not there before.
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import msgspec
import structlog

P = TypeVar("P", bound=msgspec.Struct)
log = structlog.get_logger()


class SavedFrame(msgspec.Struct, array_like=True):
    layer: str
    place: msgspec.Raw
    """As JSON; `null` when none was set."""


class Frame:
    """One layer's place. See engine.call.Frame."""

    def __init__(self, frames: "Frames", layer: str, was: msgspec.Raw | None) -> None:
        self.layer = layer
        self._was = was
        self._claimed = False
        self._place: Callable[[], msgspec.Struct] | None = None
        self._frames = frames

    def was(self, kind: type[P]) -> P | None:
        if self._was is None or self._claimed:
            return None
        self._claimed = True
        try:
            return msgspec.json.decode(self._was, type=kind | None)
        except msgspec.DecodeError as error:  # another version's: it begins anew
            log.warning("place is not understood", layer=self.layer, error=str(error))
            return None

    def set(self, place: Callable[[], msgspec.Struct]) -> None:
        self._place = place
        self._frames.touched()

    def state(self) -> SavedFrame:
        """Until the layer has set a place it is where it was."""
        if self._place is not None:
            return SavedFrame(self.layer, msgspec.Raw(msgspec.json.encode(self._place())))
        return SavedFrame(self.layer, self._was if self._was is not None else msgspec.Raw(b"null"))

    def __enter__(self) -> "Frame":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._frames.leave(self)
        self._place = None  # it holds the layer, which holds this


class Frames:
    """Of one call."""

    def __init__(self, touched: Callable[[], None]) -> None:
        self.touched = touched
        self._stack: list[Frame] = []
        self._resumed: deque[SavedFrame] = deque()

    def __bool__(self) -> bool:
        """A layer is at work, or was."""
        return bool(self._stack or self._resumed)

    @property
    def lowest(self) -> str:
        """Layer that is to enter first of those that were at work; "" for none."""
        return self._resumed[0].layer if self._resumed else ""

    def enter(self, layer: str) -> Frame:
        """`layer` begins above those that are at work."""
        was: msgspec.Raw | None = None
        if self._resumed and self._resumed[0].layer == layer:
            was = self._resumed.popleft().place
        else:
            self._resumed.clear()
        frame = Frame(self, layer, was)
        self._stack.append(frame)
        self.touched()
        return frame

    def leave(self, frame: Frame) -> None:
        """It is over, and whatever is above it."""
        if frame in self._stack:
            del self._stack[self._stack.index(frame) :]
            self._resumed.clear()
            self.touched()

    def state(self) -> list[SavedFrame]:
        return [*(frame.state() for frame in self._stack), *self._resumed]

    def restore(self, saved: list[SavedFrame]) -> None:
        """To be claimed by layers that enter. Before any has."""
        self._resumed = deque(saved)
