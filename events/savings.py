"""What a process has saved for the one after it, key by key: written when it changes, kept for the next snapshot."""

from collections.abc import Callable, Iterator


class Savings:
    """save: `Journal.save`."""

    def __init__(self, save: Callable[[str, bytes], None]) -> None:
        self._save = save
        self._kept: dict[str, bytes] = {}

    def put(self, key: str, state: bytes) -> None:
        """Keep `state`, b"" to forget the key. Writes nothing when that is what is kept already."""
        if self._kept.get(key, b"") == state:
            return
        if state:
            self._kept[key] = state
        else:
            del self._kept[key]
        self._save(key, state)

    def under(self, section: str) -> Callable[[str, bytes], None]:
        """`put` of one section: KEY, state."""
        put = self.put
        return lambda key, state: put(f"{section}/{key}", state)

    def read(self, key: str, state: bytes) -> None:
        """What the journal or a snapshot holds: for `Tail`."""
        if state:
            self._kept[key] = state
        else:
            self._kept.pop(key, None)

    def section(self, name: str) -> dict[str, bytes]:
        """All `name/KEY`, as KEY → state."""
        prefix = f"{name}/"
        return {key[len(prefix) :]: state for key, state in self._kept.items() if key.startswith(prefix)}

    def items(self) -> Iterator[tuple[str, bytes]]:
        yield from self._kept.items()
