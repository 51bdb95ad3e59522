"""Journal before effect: what leaves this process waits until the events before it are written."""

from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger()


class Outbox:
    """Collects effects of one loop iteration, then commits the journal once and lets them all go, in order.

    commit: writes the journal's buffer; it raises nothing (a journal that cannot write keeps its buffer and says so).
    soon: `loop.call_soon`.
    """

    def __init__(self, commit: Callable[[], None], soon: Callable[[Callable[[], None]], object]) -> None:
        self._commit = commit
        self._soon = soon
        self._effects: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._scheduled = False
        self._held = False

    def hold(self) -> None:
        """Commit on, but let nothing leave until `let_go`: those who carry it are not there yet."""
        self._held = True

    def let_go(self) -> None:
        self._held = False
        self.release()

    def add(self, effect: Callable[..., object], *args: Any) -> None:
        """Call `effect(*args)` after the next commit."""
        self._effects.append((effect, args))
        self.wake()

    def wake(self) -> None:
        """Commit at the end of this loop iteration, even with no effect to release."""
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.release)

    def release(self) -> None:
        """Commit and let go now (also used at shutdown)."""
        self._scheduled = False
        self._commit()
        if self._held:
            return
        effects, self._effects = self._effects, []
        for effect, args in effects:
            try:
                effect(*args)
            except Exception:  # those behind it belong to other calls
                log.exception("effect failed", effect=getattr(effect, "__qualname__", str(effect)))
