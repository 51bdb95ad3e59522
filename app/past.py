"""What the control processes before this one left: the log, folded, and what the last of them saved for the next. Kept
in snapshots, so that a start is short however long the log is."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from events import codec, live_codec
from events.fold import LiveState
from events.journal import read
from events.savings import Savings
from events.segments import begins
from events.snapshots import Snapshots
from events.types import AgentStateChanged, Recorded
from kernel.ids import AgentName

NAME = "control"
VERSION = 1
"""Of a snapshot's form."""
SAVE_EVERY = 120.0
"""Seconds between snapshots: a start after a longer time reads that much of the log."""
BOOT = "boot/id"
"""Saved: the boot in which the rest was. Times are those of one boot's clock, and no call outlives it."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger()


class _Kept(msgspec.Struct):
    live: bytes
    agents: list[bytes]
    """The last AgentStateChanged of each, as lines."""
    saved: dict[str, bytes]


class Past:
    """live: as far as the log was read; `follow` it from then on. save: `Journal.save`. waits: whether anything is not
    written yet."""

    def __init__(
        self,
        journal: Path,
        save: Callable[[str, bytes], None],
        boot: bytes,
        waits: Callable[[], bool] = lambda: False,
    ) -> None:
        """Reads what is there. boot: the name of this one. Raises JournalDamaged."""
        self.live = LiveState()
        self.agents: dict[AgentName, Recorded] = {}
        """The last change of each agent's state."""
        self.savings = Savings(save)
        self._journal = journal
        self._waits = waits
        self._snapshots = Snapshots(journal, NAME, VERSION)
        for record in read(journal, self._restore(), self.savings.read):
            self.follow(record)
        self._check(boot)

    def follow(self, record: Recorded) -> None:
        self.live.apply(record)
        if isinstance(record.event, AgentStateChanged):
            self.agents[record.event.agent] = record

    async def keep(self) -> None:
        """A snapshot every while, for ever."""
        while True:
            await asyncio.sleep(SAVE_EVERY)
            if self._waits():  # what is to be saved is ahead of the events in the log
                continue
            seq, at, payload = self.live.seq, self.live.at, self._dump()
            await asyncio.to_thread(self._write, seq, at, payload)

    def write(self) -> None:
        """A snapshot now, unless something waits."""
        if not self._waits():
            self._write(self.live.seq, self.live.at, self._dump())

    # --- inside -------------------------------------------------------------------------------------------------

    def _check(self, boot: bytes) -> None:
        """Of another boot only what the log says is true still."""
        name = BOOT.partition("/")[0]
        if self.savings.section(name).get("id") not in (None, boot):
            for key, _ in list(self.savings.items()):
                self.savings.put(key, b"")
        self.savings.put(BOOT, boot)

    def _dump(self) -> bytes:
        lines = [codec.encode(record) for record in self.agents.values()]
        try:
            return msgspec.msgpack.encode(_Kept(live_codec.dump(self.live), lines, dict(self.savings.items())))
        except live_codec.BadState as error:
            log.warning("no snapshot can be made", error=str(error))
            return b""

    def _write(self, seq: int, at: float, payload: bytes) -> None:
        if payload and seq:
            self._snapshots.save(seq, at, payload)

    def _restore(self) -> int:
        """From the newest snapshot that fits. Returns the event after which the log is to be read."""
        first = begins(self._journal)
        found = self._snapshots.load()
        if found is None:
            return first - 1
        try:
            kept = msgspec.msgpack.decode(found[1], type=_Kept)
            self.live = live_codec.restore(kept.live)
            for line in kept.agents:
                record = codec.decode(line)
                if isinstance(record.event, AgentStateChanged):
                    self.agents[record.event.agent] = record
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("snapshot passed over", reason=str(error))
            self.live, self.agents = LiveState(), {}
            return first - 1
        for key, state in kept.saved.items():
            self.savings.read(key, state)
        return found[0]


def boot_id() -> bytes:
    """The name of this boot of the machine, as JSON; of a kernel that does not tell, always the same."""
    try:
        return msgspec.json.encode(BOOT_ID.read_text().strip())
    except OSError:
        return b'"unknown"'
