"""The durable log: the one truth, appended to before any effect is acknowledged outside.

`append` gives an event its seq and time; `commit` hands everything appended to the kernel in one write(2), after
which it survives the death of this process. A thread of the journal's own calls fdatasync every `sync_interval`
seconds, so a power cut costs at most that much. One process writes (held by a lock file); any number read, by `read`
or `Tail`, straight from the files.

Besides events the writer may `save` what it must know to go on after its own death, in the same write: so what is
saved and what is told agree at every moment. Such lines begin with SAVED and have no number; other readers pass them
over. Only the last one of each key counts; an empty one says that there is nothing any more.
"""

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

from events.codec import BadEvent, BadLine, clean, decode, encode
from events.segments import MAX_LINE, SAVED, Recovery, find, recover, segment_path, segments, sync_directory
from events.syncing import Syncer
from events.types import Event, Recorded
from kernel.clock import Clock

SEGMENT_BYTES = 64 << 20
MAX_BUFFER = 64 << 20
"""Bytes that wait for a full disk to have room again; about 400 000 events, 300 MB of memory in all."""
_NEWLINE = 10

Subscriber = Callable[[Recorded], None]
Saved = Callable[[str, bytes], None]
"""(key, what was saved; b"" for nothing any more)."""


class JournalFull(Exception):
    """The disk took no (more) bytes: full, over quota, or failing. What was appended waits, in order, and goes out
    with the next commit that succeeds."""


class JournalLocked(Exception):
    """Another process writes this journal."""


class JournalDamaged(Exception):
    """A line in the middle of the journal is not what was written: the disk lost or changed it."""


class Journal:
    """The writer. Not thread-safe: belongs to the event loop's thread."""

    def __init__(self, directory: Path, clock: Clock, lock: int, recovery: Recovery, segment_bytes: int) -> None:
        """Use `Journal.open`."""
        self.directory = directory
        self.recovery = recovery
        self.seq = recovery.last_seq
        """Of the last event appended."""
        self.bytes = sum(path.stat().st_size for _, path in segments(directory))
        """Size of all segments, without what is not committed yet."""
        self._clock = clock
        self._lock = lock
        self._segment_bytes = segment_bytes
        # When the machine's clock was set back since the last run, the log's time goes on from where it was,
        # at the same pace, rather than standing still until the clock catches up.
        self._shift = max(0.0, recovery.last_at - clock.wall())
        self._at = recovery.last_at
        self._fd = -1 if recovery.path is None else _open_segment(recovery.path)
        self._size = 0 if recovery.path is None else recovery.path.stat().st_size
        self._committed = recovery.last_seq
        self._buffer = bytearray()
        self._owed: dict[str, bytes] = {}  # what is to be saved when the buffer is written
        self._partial = False  # some bytes of the buffer's first commit are in the segment already
        self._pending: list[Recorded] = []
        self._outbox: deque[Recorded] = deque()
        self._delivering = False
        self._subscribers: list[Subscriber] = []
        self._syncer: Syncer | None = None

    @classmethod
    def open(
        cls, directory: Path, clock: Clock, *, segment_bytes: int = SEGMENT_BYTES, sync_interval: float = 0.2
    ) -> "Journal":
        """Lock, repair (see `.recovery`) and go on. sync_interval 0: no thread, `sync()` is the caller's affair.

        Raises JournalLocked, and OSError when the folder can't be made, read or repaired."""
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory / "lock")
        try:
            journal = cls(directory, clock, lock, recover(directory), segment_bytes)
        except BaseException:
            os.close(lock)
            raise
        journal._syncer = Syncer(directory, journal._fd, clock.monotonic, sync_interval)
        return journal

    def trimmed(self, size: int) -> None:
        """So many bytes of old segments were removed (events/retention.py)."""
        self.bytes -= size

    def subscribe(self, callback: Subscriber) -> None:
        """Called in `commit`, in order, with each record that is written from now on.

        When one raises, all others still get every record, and `commit` raises the first error at its end."""
        self._subscribers.append(callback)

    def append(self, event: Event) -> Recorded:
        """Number and time the event; it is durable only after `commit`.

        What comes back (and what subscribers get) was decoded from the line, so that live state and replay see the
        same. Raises BadEvent for values that the line cannot hold, JournalFull when MAX_BUFFER waits already."""
        if len(self._buffer) > MAX_BUFFER:
            raise JournalFull(f"{MAX_BUFFER} bytes of events wait for the disk")
        at = max(self._at, self._clock.wall() + self._shift)
        seq = self.seq + 1
        try:
            try:
                line = encode(Recorded(seq, at, event))
            except UnicodeEncodeError:
                line = encode(Recorded(seq, at, clean(event)))
            record = decode(line)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadEvent(f"{event!r}: {error}") from error
        if len(line) >= MAX_LINE:
            raise BadEvent(f"{type(event).__name__} takes {len(line)} bytes, at most {MAX_LINE - 1} can be kept")
        self.seq = seq
        self._at = at
        self._buffer += line
        self._buffer.append(_NEWLINE)
        self._pending.append(record)
        return record

    def save(self, key: str, state: bytes) -> None:
        """Keep `state` for a successor of this process; it leaves with the next commit, behind the events before it.

        key: without space or newline. state: JSON without a newline; b"" takes it back, and so does one that no line
        can hold: better none than the one before it. When MAX_BUFFER waits for the disk the latest state of each key
        waits behind that, and leaves in the same write as the last of it."""
        if len(state) >= MAX_LINE - 1000:
            state = b""
        if self._owed or len(self._buffer) > MAX_BUFFER:
            self._owed[key] = state
        else:
            self._buffer += _saved_line(key, state)

    def commit(self) -> None:
        """Write all that was appended. Raises JournalFull, or what a subscriber raised (the write is done then)."""
        if not self._buffer:
            return
        try:
            if self._fd < 0 or (self._size >= self._segment_bytes and not self._partial):
                self._roll()
            self._write()
        except OSError as error:
            raise JournalFull(f"{self.directory}: {error.strerror or error}") from error
        records, self._pending = self._pending, []
        if not records:
            return
        self._committed = records[-1].seq
        if self._subscribers:
            self._outbox.extend(records)
            if not self._delivering:  # a subscriber that itself commits must not overtake
                self._deliver()

    def _write(self) -> None:
        buffer, owed = self._buffer, b"".join(_saved_line(*item) for item in self._owed.items())
        while buffer:
            written = os.writev(self._fd, (buffer, owed)) if owed else os.write(self._fd, buffer)
            self._size += written
            self.bytes += written
            if written >= len(buffer):
                buffer[:] = owed[written - len(buffer) :]
                owed = b""
                self._owed.clear()
            else:
                del buffer[:written]
            self._partial = bool(buffer)
            if self._syncer is not None:
                self._syncer.written()

    def _roll(self) -> None:
        fd = _open_segment(segment_path(self.directory, self._committed + 1))
        if self._committed == 0:
            sync_directory(self.directory)  # a journal that lost its first name would seem to be one without beginning
        if self._syncer is not None:
            self._syncer.rolled(fd)
        self._fd = fd
        self._size = 0

    def _deliver(self) -> None:
        errors: list[Exception] = []
        self._delivering = True
        try:
            while self._outbox:
                record = self._outbox.popleft()
                for callback in self._subscribers:
                    try:
                        callback(record)
                    except Exception as error:  # noqa: BLE001 - raised below, after the others had their turn
                        errors.append(error)
        finally:
            self._delivering = False
        if errors:
            raise errors[0]

    @property
    def waiting_bytes(self) -> int:
        """Of the events appended and not written yet; MAX_BUFFER and one line at most."""
        return len(self._buffer)

    @property
    def unsynced_ms(self) -> float:
        """Age of the oldest write that no fdatasync has covered yet; 0 when all is on disk."""
        return self._syncer.age() * 1000 if self._syncer is not None else 0.0

    def take_unsynced_ms_max(self) -> float:
        """The longest time between a write and its fdatasync since this was last asked."""
        return self._syncer.take_age_max() * 1000 if self._syncer is not None else 0.0

    def sync(self) -> None:
        """fdatasync now, in this thread. Raises JournalFull when the disk fails."""
        try:
            if self._syncer is not None:
                self._syncer.sync()
        except OSError as error:
            raise JournalFull(f"{self.directory}: {error.strerror or error}") from error

    def close(self) -> None:
        """Commit, sync, unlock. May be repeated. Raises JournalFull when not all could be written; closed anyway."""
        if self._lock < 0:
            return
        try:
            self.commit()
            self.sync()
        finally:
            if self._syncer is not None:
                self._syncer.close()
            if self._fd >= 0:
                os.close(self._fd)
            os.close(self._lock)
            self._fd = self._lock = -1


def _saved_line(key: str, state: bytes) -> bytes:
    return b"%b%b %b\n" % (SAVED, key.encode(), state)


def _open_segment(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def _lock(path: Path) -> int:
    """flock: falls with its process, however that dies."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise JournalLocked(f"{path.parent} is being written by process {holder}") from None
    os.truncate(lock, 0)
    with suppress(OSError):  # the number is for the message only; a full disk must not stop us here
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


class Tail:
    """A reader in any process, at any time: before the journal exists, while it grows, over segment ends.

    It stands after a line, never within one: a half-written line is read again at the next poll, so that a writer
    that died in it and cut it off does no harm."""

    def __init__(self, directory: Path, after: int = 0, saved: Saved | None = None) -> None:
        """saved: gets each saved line, those from shortly before `after` too."""
        self.directory = directory
        self._saved = saved
        self.seq = after
        """Of the last record returned (or skipped)."""
        self._fd = -1
        self._path = directory
        self._next = 0
        self._offset = 0

    def poll(self) -> list[Recorded]:
        """What is there now, at most 1 MB of it; [] when nothing new is. Never waits.

        Raises JournalDamaged, also when the wanted place is no longer (or not yet) in the journal."""
        if self._fd < 0 and not self._find():
            return []
        records = self._read()
        while not records and self._advance():
            records = self._read()
        return records

    def rest(self) -> Iterator[Recorded]:
        """All that is there now, poll by poll. Raises JournalDamaged."""
        while records := self.poll():
            yield from records

    def _find(self) -> bool:
        """Open the segment that holds the next record; False when the journal is still empty."""
        found = segments(self.directory)
        if not found:
            return False
        if found[0][0] > self.seq + 1:
            raise JournalDamaged(f"{self.directory} begins at {found[0][0]}, event {self.seq + 1} is gone")
        self._open(max(first for first, _ in found if first <= self.seq + 1))
        return True

    def _open(self, first: int) -> None:
        path = segment_path(self.directory, first)
        fd = os.open(path, os.O_RDONLY)
        self.close()
        self._fd, self._path = fd, path
        self._next, self._offset = (first, 0) if self.seq < first else find(fd, first, self.seq + 1)

    def _advance(self) -> bool:
        """On to the segment that begins where this one ended, or further within this one; False: nothing new."""
        here = self._offset
        if os.fstat(self._fd).st_size > here and self._whole_line(here):
            return True
        if segment_path(self.directory, self._next) == self._path:
            return False
        try:
            self._open(self._next)
        except FileNotFoundError:
            return False
        return True

    def _whole_line(self, offset: int) -> bool:
        return b"\n" in os.pread(self._fd, MAX_LINE, offset)

    def _read(self) -> list[Recorded]:
        there = os.fstat(self._fd).st_size - self._offset
        if there <= 0:
            return []
        # A buffer of MAX_LINE, cut to size, would leave a hole in the heap each time.
        chunk = os.pread(self._fd, min(there, MAX_LINE), self._offset)
        end = chunk.rfind(b"\n") + 1
        records: list[Recorded] = []
        for line in chunk[:end].split(b"\n")[:-1]:
            if line.startswith(SAVED):
                self._offset += len(line) + 1
                if self._saved is not None:
                    key, _, state = line[1:].partition(b" ")
                    self._saved(key.decode(), state)
                continue
            try:
                record = decode(line)
            except BadLine as error:
                raise JournalDamaged(f"{self._path}, byte {self._offset}: {error}") from error
            if record.seq != self._next:
                raise JournalDamaged(f"{self._path}, byte {self._offset}: {record.seq} instead of {self._next}")
            self._next += 1
            self._offset += len(line) + 1
            if record.seq > self.seq:
                self.seq = record.seq
                records.append(record)
        return records

    async def follow(self, interval: float = 0.05) -> AsyncIterator[list[Recorded]]:
        """Batches for ever, looking every `interval` seconds. Short polling on purpose: one look costs 5 µs, works
        on every file system, under virtual time, and needs no inotify descriptor."""
        while True:
            if records := self.poll():
                yield records
            else:
                await asyncio.sleep(interval)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read(directory: Path, after: int = 0, saved: Saved | None = None) -> Iterator[Recorded]:
    """All whole records after `after` that are there now; what was saved goes to `saved`. Raises JournalDamaged."""
    tail = Tail(directory, after, saved)
    try:
        yield from tail.rest()
    finally:
        tail.close()


def holds(directory: Path, seq: int, at: float) -> bool:
    """Whether the journal has that very record: its number and its time. Reads at most 1 MB; raises OSError."""
    tail = Tail(directory, seq - 1)
    try:
        record = next(iter(tail.poll()), None)
    except JournalDamaged:  # older than the oldest segment, or unreadable: no
        return False
    finally:
        tail.close()
    return record is not None and record.at == at
