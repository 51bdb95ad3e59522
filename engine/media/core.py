"""What a media core does, in numbers and octets: no names, no files' paths, no asyncio. Two implementations of one
contract, native/core.pyx and reference.py; local.py makes a plane of either."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from engine.media import srtp
from engine.media.native.core import NativeCore
from engine.media.plane import Srtp
from engine.rtp import g711

MAX_CLIPS_A_PLAY = 64
MAX_MEMBERS = 16


class Told(IntEnum):
    """First item of an event tuple (kind, port, a, b, x)."""

    DTMF = 1
    """a: RFC 4733 event code."""
    PLAY_DONE = 2
    """a: play id, b: 1 when finished, x: seconds."""
    RTP_TIMEOUT = 3
    """x: seconds."""
    RECORDING_DONE = 4
    """port: the left one; a: (token, errno of the first refusal by the disk or 0, seconds refused), b: lost frames,
    x: seconds in the file."""
    PORT_CLOSED = 5
    """a: the statistics, fields of plane.PortStats."""


class Far(NamedTuple):
    """The other end of a port, and what may pass."""

    host: str
    rtp_port: int
    rtcp_port: int
    """Equal to rtp_port: both on one port."""
    codec: str
    payload_type: int
    dtmf_type: int | None
    ptime_ms: int
    sends: bool
    receives: bool
    latch: bool
    srtp: Srtp | None = None


class Core(Protocol):
    """Commands take effect in order, at the next `step` or turn of the core's thread; a stale port id does nothing
    (but a play on it is done at once, and a record ends at once)."""

    @property
    def event_fd(self) -> int:
        """Readable when `poll` has something."""

    def attach(self, rtp_fd: int, rtcp_fd: int, *, family: int, timeout_ms: int, identity: bytes) -> int:
        """Take both sockets, non-blocking, to be closed by the core. identity: 24 octets of chance.

        Returns the port id: generation << 16 | slot. Raises RuntimeError when there is no slot."""

    def connect(self, port: int, far: Far) -> None:
        """A host that is no unicast address of the port's family is remembered as unknown: nothing is sent.

        far.srtp: keys of the suite's length; a direction whose suite and key are as before keeps its state."""

    def add_clip(self, pcmu: bytes, pcma: bytes) -> int: ...
    def play(
        self, port: int, play: int, clips: Sequence[int], loop: bool, barge_in: bool, failed: bool = False
    ) -> None:
        """At most MAX_CLIPS_A_PLAY clips. No clips, or nothing in them: done at once, finished unless `failed`."""

    def stop(self, port: int) -> None: ...
    def bridge(self, a: int, b: int) -> None: ...
    def mix(self, ports: Sequence[int], hears: Sequence[int]) -> None:
        """At most MAX_MEMBERS; bit j of hears[i]: ports[i] hears ports[j]."""

    def unbridge(self, port: int) -> None:
        """Part it from its partner, or take it out of its conference."""

    def record(self, left: int, rights: Sequence[int], fd: int) -> int:
        """Take a file that has its header; returns the token of its RECORDING_DONE. At most MAX_MEMBERS legs."""

    def stop_recording(self, left: int) -> None: ...
    def send_dtmf(self, port: int, event: int, duration_ms: int) -> None: ...
    def close(self, port: int) -> None: ...
    def kick(self) -> None:
        """Let the thread see the commands now."""

    def poll(self) -> list[tuple[int, int, Any, int, float]]: ...
    def stats(self, port: int) -> dict[str, Any]: ...
    def health(self) -> dict[str, Any]:
        """Fields of plane.Health, without port and cpu_seconds."""

    def step(self, now: int) -> None:
        """Obey, receive all that waits, and tick up to `now` (ns). For tests; production calls `run`."""

    def drain(self) -> None:
        """Write what is final of the recordings. For tests; production calls `run_writer`."""


def native_core(ports: int, *, stepped: bool = False) -> NativeCore:
    """With room for so many ports at once."""
    tables = {
        "ulaw": g711.ulaw_table().tobytes(),
        "alaw": g711.alaw_table().tobytes(),
        "ulaw_to_alaw": g711.ulaw_to_alaw(),
        "alaw_to_ulaw": g711.alaw_to_ulaw(),
        "linear_to_ulaw": g711.linear_to_ulaw(),
        "linear_to_alaw": g711.linear_to_alaw(),
    }
    return NativeCore(ports=ports, tables=tables, srtp=srtp.Library(), stepped=stepped)
