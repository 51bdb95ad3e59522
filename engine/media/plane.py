"""The media plane's contract: commands, events and the clip format. Implemented by native/ (fast), reference.py (slow
and obvious; same tests) and client.py (the same methods, sent to a media process over its UNIX socket).

A *port* is one leg's RTP socket pair and all its state. Port ids carry a generation: a stale id is refused, never
mistaken for the port that reuses its slot. Clips are mono int16 8 kHz WAV files named by path, loaded once.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NewType, Protocol

import msgspec

PortId = NewType("PortId", int)
PlayId = NewType("PlayId", int)


class Codec(StrEnum):
    PCMU = "PCMU"
    PCMA = "PCMA"


class Direction(StrEnum):
    """Ours, as in SDP (RFC 8866 §6.7): sendonly = we send and drop what comes."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class SrtpSuite(StrEnum):
    """Names as in RFC 4568 §6.2 and RFC 7714 §14.2. SRTCP's tag has 80 bits with either of the first two."""

    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"

    @property
    def key_octets(self) -> int:
        """Of master key and master salt together, as SDES writes them."""
        return 28 if self is SrtpSuite.AEAD_AES_128_GCM else 30


class Srtp(msgspec.Struct, frozen=True, kw_only=True):
    """Both directions encrypted and authenticated (RFC 3711). Keys: master key, then salt. No repr shows them."""

    suite: SrtpSuite
    local_key: bytes
    """Of what we send."""
    remote_key: bytes

    def __repr__(self) -> str:
        return f"Srtp({self.suite})"


class Remote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where and how to send; what to expect. From the negotiated SDP."""

    host: str
    port: int
    codec: Codec
    payload_type: int
    dtmf_type: int | None
    """Payload type of telephone-event/8000, None when not negotiated."""
    ptime_ms: int = 20
    """Of the packets that we generate: 20, 30 or 40."""
    direction: Direction = Direction.SENDRECV
    rtcp_port: int = 0
    """0: port + 1. Equal to port: rtcp-mux."""
    latch: bool = True
    """Symmetric RTP: may learn the peer's real address from its first packets (see DESIGN §5)."""
    srtp: Srtp | None = None
    """None: plain RTP. A direction whose suite and key stay the same goes on where it was (roll-over, replay list)."""


class PortStats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    packets_received: int = 0
    packets_sent: int = 0
    packets_lost: int = 0
    jitter_ms: float = 0.0
    jitter_max_ms: float = 0.0
    strangers: int = 0
    stun: int = 0
    """STUN messages (RFC 5389): of a peer that tries ICE, or keeps its NAT open. They get no answer."""
    remote_lost: int = -1
    unauthenticated: int = 0
    """SRTP and SRTCP packets of no authentic tag, and authentic ones that had come before (RFC 3711 §3.3)."""
    remote_jitter_ms: float = -1.0
    """By the peer's last report; -1 without one."""
    round_trip_ms: float = -1.0
    """To the peer and back, by RTCP (RFC 3550 §6.4.1); -1 when it could not be measured."""


class MediaEvent(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    port: PortId


class Dtmf(MediaEvent, frozen=True):
    """Once for each key press, at its beginning; `via` is rfc4733 or inband."""

    digit: str
    via: str


class PlayDone(MediaEvent, frozen=True):
    play: PlayId
    finished: bool
    """False: stopped by a key (barge-in), `stop`, a later `play` or `close`."""
    seconds: float


class RtpTimeout(MediaEvent, frozen=True):
    """Nothing valid came for the time set at `open`; sent once for each silence."""

    silent_for: float


class RecordingDone(MediaEvent, frozen=True):
    path: str
    seconds: float
    """In the file, which can be played whatever happened to it; 0.0 also when it could not be made."""
    lost_frames: int
    error: str = ""
    """Why the disk did not take all of it; "" when it did."""
    refused: float = 0.0
    """Seconds that the disk did not take; -1.0: no file could be made, all of the talk."""


class PortClosed(MediaEvent, frozen=True):
    """The answer to `close`, after any PlayDone and RecordingDone of the port."""

    stats: PortStats


class Health(MediaEvent, frozen=True):
    """Every 5 s; `port` is 0. Fields as in events.types.MediaReported."""

    ports: int
    bridged: int
    recording: int
    playing: int
    packets_received: int
    packets_sent: int
    packets_dropped: int
    strangers: int
    recording_overruns: int
    event_overruns: int
    late_ms_max: float
    cpu_seconds: float
    recording_refused: float = 0.0
    stun: int = 0


class PlaneError(Exception):
    """No free port, a missing or wrong clip, a stale port id, or a lost media process."""


class Plane(Protocol):
    """Commands take effect in the order given. Only open() and load() wait for an answer."""

    @property
    def name(self) -> str:
        """Of the media process; the one that takes the place of a dead one has its name."""

    async def open(self, host: str, *, rtp_timeout: float = 0.0, rtp_port: int = 0) -> tuple[PortId, int]:
        """Bind an RTP/RTCP pair (even, odd) on `host`; returns id and RTP port. rtp_timeout 0: never.
        rtp_port: the one to take if it is ours and free.

        Raises PlaneError when none is free."""

    async def load(self, clips: Sequence[str]) -> dict[str, float]:
        """Load clips ahead of use; returns the length of each in seconds. Raises PlaneError naming the bad file."""

    def connect(self, port: PortId, remote: Remote) -> None:
        """Set or change (re-INVITE) the far end."""

    def play(self, port: PortId, play: PlayId, clips: Sequence[str], *, loop: bool, barge_in: bool) -> None:
        """Replaces what plays. The id is the caller's choice, and comes back in PlayDone. With barge_in the next
        DTMF ends it natively, within one packet. A bridged port that plays hears the clip, not its partner."""

    def stop(self, port: PortId) -> None: ...

    def bridge(self, a: PortId, b: PortId) -> None:
        """Relay both ways (direction of each permitting), transcoding PCMU/PCMA, translating dtmf_type."""

    def mix(self, ports: Sequence[PortId], hears: Sequence[Sequence[PortId]]) -> None:
        """Make a conference of these ports, at most 16; hears[i]: whom ports[i] hears (never itself). So one may listen
        (hears all, heard by none), whisper (heard by the agent alone) or barge in (heard by all).

        Whatever they were in before is over; given again with other ears, or with one port more or less, those that
        stay hear no gap. `bridge` and `unbridge` take a port out again; so does `close`. Mixed in 20 ms frames with
        two to three frames of jitter buffer; a lost frame is the last one again, fading. A member that plays hears its
        clip. Keys are told, and not heard by the others. Recordings go on, but for the voice of one whom nobody
        hears."""

    def unbridge(self, a: PortId) -> None:
        """Part it from its partner, or take it out of its conference; nobody is closed."""

    def record(self, left: PortId, right: PortId, path: str, also: Sequence[PortId] = ()) -> None:
        """Stereo WAV, 8 kHz, 16 bit: what came from `left` and from `right`, aligned by RTP timestamp. also: whose
        voices are added to the right channel, cut off where the sum is too loud; at most 14.

        Ends with stop_recording(left) or when any of the ports closes. Folders are made as needed."""

    def stop_recording(self, left: PortId) -> None: ...

    def send_dtmf(self, port: PortId, digit: str, duration_ms: int = 160) -> None:
        """RFC 4733 event, or nothing when dtmf_type is None."""

    def close(self, port: PortId) -> None:
        """Free it; PortClosed follows."""
