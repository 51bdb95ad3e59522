"""The keys that a caller has pressed and nobody has taken yet."""

import asyncio
from collections import deque

KEYS_LIMIT = 64
"""Kept for a flow that does not collect them; what comes after is lost."""


class Keypad:
    def __init__(self) -> None:
        self._keys: deque[str] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        """A key waits."""
        return bool(self._keys)

    def __str__(self) -> str:
        return "".join(self._keys)

    def press(self, key: str) -> None:
        if len(self._keys) < KEYS_LIMIT:
            self._keys.append(key)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> str:
        """The next key. A key is taken only by a task that gets it: cancelled, it leaves it to the one after.

        One task at a time may wait; a second one takes the place of the first, which may then be forgotten."""
        while not self._keys:
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None
        return self._keys.popleft()
