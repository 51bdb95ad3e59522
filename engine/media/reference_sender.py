"""What leaves a leg of the reference plane: one SSRC, one unbroken sequence, from clips, the peer or keys."""

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.media.core import Far, Told
from engine.media.reference_srtp import Lock
from engine.rtp import dtmf, g711, packet
from engine.rtp.jitter import MAX_DROPOUT, MAX_MISORDER
from engine.rtp.packet import signed16, signed32

CATCH_UP_MS = 200
KEY_STEP_MS, KEY_GAP_MS, KEY_QUEUE = 20, 60, 32
Tell = Callable[[tuple[int, int, Any, int, float]], None]


class Sender:
    def __init__(
        self, port: int, identity: bytes, sock: socket.socket, clips: list[dict[str, bytes]], tell: Tell, lock: Lock
    ) -> None:
        self._lock = lock
        self._port, self._sock, self._clips, self._tell = port, sock, clips, tell
        self.ssrc = int.from_bytes(identity[:4], "big")
        self._sequence = int.from_bytes(identity[4:6], "big")
        self._base = int.from_bytes(identity[6:10], "big")
        self._timestamp = self._length = 0
        """Of the latest packet; its samples."""
        self.opened = 0
        self.packets = self.octets = 0
        self._far: Far | None = None
        self._address: tuple[str, int] | None = None
        self._source: tuple[object, ...] = ()
        self._offsets = (0, 0)
        self.playing = self.barge_in = False
        self._codes = {"PCMU": b"", "PCMA": b""}
        self._position = self._played = self._play = self._play_next = 0
        self._loop = False
        self._keys: list[tuple[int, int]] = []
        self._key_duration = self._key_ends = self._key_start = self._key_next = 0
        self._key_sending = False

    def aim(self, far: Far, address: tuple[str, int] | None) -> None:
        self._far, self._address = far, address
        if self._lock.keyed and self.packets == 0:
            self._sequence &= 0x7FFF

    def timestamp_at(self, now: int) -> int:
        return (self._base + (now - self.opened) // 125_000) & 0xFFFFFFFF

    def _fresh(self, now: int) -> int:
        stamp, after = self.timestamp_at(now), (self._timestamp + self._length) & 0xFFFFFFFF
        return after if self.packets and signed32(stamp - after) < 0 else stamp

    def _may_send(self) -> bool:
        return self._far is not None and self._far.sends and self._address is not None

    def _transmit(self, out: packet.Packet, length: int) -> None:
        if self.packets == 0 or signed16(out.sequence - self._sequence) > 0:
            self._sequence, self._timestamp, self._length = out.sequence & 0xFFFF, out.timestamp & 0xFFFFFFFF, length
        assert self._address is not None
        data = self._lock.lock(packet.encode(out), rtcp=False)
        if data is None:
            return
        self._sock.sendto(data, self._address)
        self.packets += 1
        self.octets += len(out.payload)

    # --- from the peer ---

    def _follows(self, sequence: int) -> bool:
        """SRTP sends no jump: it would be a wrong roll-over count, or a replay."""
        return not self._lock.keyed or -MAX_MISORDER < signed16(sequence - self._sequence) < MAX_DROPOUT

    def relay(self, got: packet.Packet, codec: str | None, origin: int, now: int) -> None:
        """codec: of the payload, None for a telephone-event."""
        far = self._far
        if far is None or not self._may_send():
            if self._source not in (("clips",), ("keys",)):
                self._source = ()  # after a hold the numbers go on where they were
            return
        if self.playing or self._key_sending:
            return
        kind = far.payload_type if codec is not None else far.dtmf_type
        if kind is None:
            return
        marker = got.marker
        if self._source != (origin, got.ssrc) or not self._follows(got.sequence + self._offsets[0]):
            self._source = (origin, got.ssrc)
            self._offsets = (self._sequence + 1 - got.sequence, self._fresh(now) - got.timestamp)
            marker = True
        payload = got.payload
        if codec is not None and codec != far.codec:
            payload = payload.translate(g711.ulaw_to_alaw() if codec == "PCMU" else g711.alaw_to_ulaw())
        sequence, timestamp = got.sequence + self._offsets[0], got.timestamp + self._offsets[1]
        out = packet.Packet(kind, sequence, timestamp, self.ssrc, payload, marker)
        self._transmit(out, 0 if codec is None else len(payload))

    # --- from clips ---

    def play(self, play: int, clips: list[int], loop: bool, barge_in: bool, failed: bool, tick: int) -> None:
        self.end_play(False)
        self._play, self._loop, self.barge_in = play, loop, barge_in
        self._codes = {name: b"".join(self._clips[clip][name] for clip in clips) for name in ("PCMU", "PCMA")}
        self._position = self._played = 0
        self.playing, self._source = True, ()
        self._play_next = tick + 1 + ((self._port & 0xFFFF) + 19 - tick % 20) % 20
        if not self._codes["PCMU"]:
            self.end_play(not failed)

    def end_play(self, finished: bool) -> None:
        if self.playing:
            self.playing = False
            self._tell((Told.PLAY_DONE, self._port, self._play, int(finished), self._played / 8000))

    def play_due(self, tick: int, now: int) -> None:
        while self.playing and self._play_next <= tick:
            ptime_ms = self._far.ptime_ms if self._far is not None else 20
            self._play_packet(ptime_ms * 8, now)
            self._play_next += ptime_ms

    def _play_packet(self, size: int, now: int) -> None:
        codec = self._far.codec if self._far is not None else "PCMU"
        codes = self._codes[codec]
        end = self._position + size if self._loop else min(self._position + size, len(codes))
        payload = bytes(codes[at % len(codes)] for at in range(self._position, end))
        self._position = end
        if not payload:
            self.end_play(True)
            return
        self._played += len(payload)
        if (
            self._key_sending
            or not self._may_send()
            or now // 1_000_000 - self._play_next > CATCH_UP_MS
            or self._far is None
        ):
            self._source = () if self._source == ("clips",) else self._source
            return
        silence = g711.ALAW_SILENCE if codec == "PCMA" else g711.ULAW_SILENCE
        fresh = self._source != ("clips",)
        stamp = self._fresh(now) if fresh else self._timestamp + self._length
        self._source = ("clips",)
        full = payload.ljust(size, bytes([silence]))
        self._transmit(packet.Packet(self._far.payload_type, self._sequence + 1, stamp, self.ssrc, full, fresh), size)

    # --- from a conference ---

    def mix(self, samples: NDArray[np.int32], now: int, *, stale: bool) -> None:
        """One frame; stale: too late to be sent."""
        far = self._far
        if stale or self.playing or self._key_sending or not self._may_send() or far is None:
            self._source = () if self._source == ("mix",) else self._source
            return
        fresh = self._source != ("mix",)
        stamp = self._fresh(now) if fresh else self._timestamp + self._length
        self._source = ("mix",)
        clipped = np.clip(samples, -32768, 32767).astype(np.int16)
        payload = (g711.encode_alaw if far.codec == "PCMA" else g711.encode_ulaw)(clipped)
        out = packet.Packet(far.payload_type, self._sequence + 1, stamp, self.ssrc, payload, fresh)
        self._transmit(out, len(payload))

    # --- keys ---

    def queue_key(self, event: int, duration_ms: int) -> None:
        if len(self._keys) < KEY_QUEUE:
            self._keys.append((event, duration_ms * 8))

    def key_due(self, tick: int, now: int) -> None:
        """RFC 4733 §2.5.1: a packet every 20 ms, the last three times, then a gap."""
        if not self._keys or self._key_next > tick:
            return
        if not self._may_send() or self._far is None or self._far.dtmf_type is None:
            self._keys, self._key_sending = [], False
            return
        event, total = self._keys[0]
        first = not self._key_sending
        if first:
            self._key_sending, self._key_ends, self._key_duration = True, 0, 0
            self._key_start, self._source = self._fresh(now), ("keys",)
        self._key_duration = min(self._key_duration + KEY_STEP_MS * 8, total)
        end = self._key_duration >= total
        self._key_ends += end
        payload = dtmf.encode(dtmf.TelephoneEvent(event, end, 10, self._key_duration))
        out = packet.Packet(self._far.dtmf_type, self._sequence + 1, self._key_start, self.ssrc, payload, first)
        self._transmit(out, self._key_duration)
        self._key_next = tick + KEY_STEP_MS
        if self._key_ends == dtmf.END_PACKETS:
            self._key_sending, self._key_next = False, tick + KEY_GAP_MS
            del self._keys[0]
