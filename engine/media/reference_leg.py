"""One leg of the reference plane: who may send to it (latching), what it hears, and the packets that leave it."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from engine.media.core import Far, Told
from engine.media.reference_mix import Ear
from engine.media.reference_recording import Recording
from engine.media.reference_sender import Sender
from engine.media.reference_srtp import Lock, is_rtp, is_stun
from engine.rtp import dtmf, packet, rtcp
from engine.rtp.jitter import Reception

VISIT_MS = 10
LATCH_MS = 10_000
LATCH_PACKETS = 3
CANDIDATE_MS = 200
SSRC_SILENCE_MS = 60
ANY_SSRC_MS = 2000
COMFORT_NOISE = 13
MAX_DATAGRAM = 2048
Address = tuple[str, int]
Tell = Callable[[tuple[int, int, Any, int, float]], None]
Sockets = tuple[socket.socket, socket.socket]


class Port(NamedTuple):
    id: int
    family: int
    timeout_ms: int
    identity: bytes


class Leg:
    def __init__(self, port: Port, sockets: Sockets, clips: list[dict[str, bytes]], tell: Tell) -> None:
        self.port = port
        self.slot = port.id & 0xFFFF
        self.peer: Leg | None = None
        self.ear: Ear | None = None
        """While it is in a conference."""
        self.recording: Recording | None = None
        self.voice = 0
        """In the recording."""
        self.unheeded = False
        """Nobody in its conference hears it."""
        self.dropped = 0
        self.far: Far | None = None
        self._signalled: Address | None = None
        self._lock = Lock(int.from_bytes(port.identity[:4], "big"))
        self.sender = Sender(port.id, port.identity, sockets[0], clips, tell, self._lock)
        self._sockets = sockets
        self._tell = tell
        self._address: Address | None = None
        self._report_to: Address | None = None
        self._unheard = True
        self._latching = False
        self._candidate: tuple[Address, int] | None = None
        self._candidate_sequence = self._candidate_packets = self._candidate_ms = 0
        self._connected_ms = self._heard_ms = self._ssrc_heard_ms = self._any_ssrc_until = 0
        self._ssrc: int | None = None
        self._next: tuple[int, int] | None = None
        self._reception = Reception(0)
        self._presses = dtmf.Presses()
        self._lost_before = self._received = self._strangers = self._stun = self._jitter_max = 0
        self._timed_out = False
        self._last_sr: tuple[int, int] | None = None
        self._remote_lost = -1
        self._remote_jitter = self._round_trip = -1.0
        self._chance = int.from_bytes(port.identity[10:14], "big")
        self._report_next = self._reported = 0

    @property
    def codec(self) -> str:
        return "PCMU" if self.far is None else self.far.codec

    def opened(self, now: int) -> None:
        self.sender.opened = now
        self._report_next = now // 1_000_000 + 2500 + self._chance % 2500

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    def part(self) -> None:
        if self.peer is not None:
            self.peer.peer = None
            self.peer = None

    def connect(self, far: Far, now: int) -> None:
        now_ms, before = now // 1_000_000, self.far
        self._lock.key(far.srtp)
        signalled = self._usable(far.host, far.rtp_port)
        if before is None or not (before.receives and before.sends):
            self._heard_ms, self._timed_out = now_ms, False
        moved = before is None or signalled is None or signalled != self._signalled
        if moved:
            self._signalled = self._address = signalled
            self._report_to = self._usable(far.host, far.rtcp_port) if signalled else None
            self._unheard = True
        if moved or (far.receives and before is not None and not before.receives):
            self._latching = self._unheard and far.latch and far.receives
            self._candidate, self._candidate_packets = None, 0
            self._connected_ms = now_ms
        elif not far.receives:
            self._latching = False
        self.far = far
        self._any_ssrc_until = now_ms + ANY_SSRC_MS
        self.sender.aim(far, self._address)

    def _usable(self, host: str, port: int) -> Address | None:
        """The address in its usual form, when one can send there."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        wrong = address.is_unspecified or address.is_multicast or host == "255.255.255.255"
        return None if wrong or family != self.port.family or not 0 < port < 65536 else (str(address), port)

    # --- what comes ---

    def receive(self, now: int) -> bool:
        """The next datagram of each socket. False: there was none."""
        some = False
        for index, one in enumerate(self._sockets):
            with contextlib.suppress(BlockingIOError):
                data, origin = one.recvfrom(65536)
                some = True
                (self._rtcp if index else self._rtp)(data, origin[:2], now)
        return some

    def _rtp(self, data: bytes, origin: Address, now: int) -> None:
        if is_stun(data):
            self._stun += 1
        elif self._lock.keyed and packet.HEADER_SIZE <= len(data) <= MAX_DATAGRAM:
            self._srtp(data, origin, now)
        else:
            self._plain_rtp(data, origin, now)

    def _plain_rtp(self, data: bytes, origin: Address, now: int) -> None:
        far = self.far
        try:
            if len(data) > MAX_DATAGRAM or far is None:
                raise packet.PacketError("too long, or too early")
            got = packet.parse(data)
        except packet.PacketError:
            self.dropped += 1
            return
        if 192 <= data[1] <= 223:
            if far.rtp_port == far.rtcp_port and origin == self._address:
                self._reported_by_peer(data, origin, now)
            return
        codec = self._codec(got.payload_type)
        if codec is None and got.payload_type not in (far.dtmf_type, COMFORT_NOISE):
            self.dropped += 1
        elif not self._admit(origin, got, now // 1_000_000):
            self._strangers += 1
        else:
            self._heard(got, codec, now)

    def _srtp(self, data: bytes, origin: Address, now: int) -> None:
        """As _plain_rtp; only what may come from the peer is deciphered."""
        assert self.far is not None
        if 192 <= data[1] <= 223:
            if self.far.rtp_port == self.far.rtcp_port and origin == self._address:
                self._reported_by_peer(data, origin, now)
            return
        if is_rtp(data):
            latching = self._latching and now // 1_000_000 - self._connected_ms <= LATCH_MS
            if origin != self._address and not latching:
                self._strangers += 1
                return
            opened = self._lock.unlock(data, rtcp=False)
            if opened is None:
                return
            data = opened
        self._plain_rtp(data, origin, now)

    def _codec(self, payload_type: int) -> str | None:
        assert self.far is not None
        if payload_type == self.far.payload_type:
            return self.far.codec
        return {0: "PCMU", 8: "PCMA"}.get(payload_type)

    def _admit(self, origin: Address, got: packet.Packet, now_ms: int) -> bool:
        if origin != self._address:
            return self._latch(origin, got, now_ms)
        self._latching = self._unheard = False
        if self._ssrc is None:
            self._new_source(got)
        elif got.ssrc != self._ssrc:
            silent = now_ms - self._ssrc_heard_ms >= SSRC_SILENCE_MS
            continued = self._next == (got.ssrc, got.sequence)
            if now_ms > self._any_ssrc_until and not (silent and continued):
                self._next = (got.ssrc, (got.sequence + 1) & 0xFFFF)
                return False
            self._new_source(got)
        return True

    def _latch(self, origin: Address, got: packet.Packet, now_ms: int) -> bool:
        assert self.far is not None
        if not self._latching or now_ms - self._connected_ms > LATCH_MS:
            self._latching = False
            return False
        same = self._candidate == (origin, got.ssrc)
        if not same or got.sequence != (self._candidate_sequence + 1) & 0xFFFF:
            if not same and self._candidate_packets and now_ms - self._candidate_ms < CANDIDATE_MS:
                return False
            self._candidate, self._candidate_packets = (origin, got.ssrc), 0
        self._candidate_sequence, self._candidate_ms = got.sequence, now_ms
        self._candidate_packets += 1
        if self._candidate_packets < LATCH_PACKETS:
            return False
        self._latching = self._unheard = False
        self._address = origin
        mux = self.far.rtp_port == self.far.rtcp_port
        self._report_to = origin if mux else (origin[0], origin[1] + 1)
        self.sender.aim(self.far, origin)
        self._new_source(got)
        return True

    def _new_source(self, got: packet.Packet) -> None:
        if self._ssrc is not None:
            self._lost_before += self._reception.lost
            self._jitter_max = max(self._jitter_max, self._reception.jitter_max)
        self._ssrc = got.ssrc
        self._reception = Reception(got.sequence)
        self._presses = dtmf.Presses()
        self._last_sr = None

    def _heard(self, got: packet.Packet, codec: str | None, now: int) -> None:
        assert self.far is not None
        self._heard_ms = self._ssrc_heard_ms = now // 1_000_000
        self._timed_out = False
        self._received += 1
        self._reception.packet(got.sequence)
        if codec is not None:
            self._reception.arrival(got.timestamp, now // 125_000)
        if not self.far.receives or (codec is None and got.payload_type != self.far.dtmf_type):
            return
        if codec is None:
            self._key(got)
        elif self.recording is not None and not self.unheeded:
            self.recording.place(self.voice, codec, got, now)
        if self.ear is not None:
            if codec is not None and got.payload:
                self.ear.listen(got, codec)
        elif self.peer is not None and got.payload:
            self.peer.sender.relay(got, codec, self.port.id, now)

    def _key(self, got: packet.Packet) -> None:
        event = dtmf.parse(got.payload)
        if event is not None and (digit := self._presses.feed(got.timestamp, event)):
            self._tell((Told.DTMF, self.port.id, dtmf.DIGITS.index(digit), 0, 0.0))
            if self.sender.barge_in:
                self.sender.end_play(False)

    # --- RTCP ---

    def _rtcp(self, data: bytes, origin: Address, now: int) -> None:
        if is_stun(data):
            self._stun += 1
        elif self.far is None or self._report_to is None or origin[0] != self._report_to[0]:
            self._strangers += 1
        else:
            self._reported_by_peer(data, origin, now)

    def _reported_by_peer(self, data: bytes, origin: Address, now: int) -> None:
        assert self.far is not None
        opened = self._lock.unlock(data, rtcp=True)
        report = rtcp.parse(opened) if opened is not None and len(opened) <= MAX_DATAGRAM else None
        if report is None:
            return
        if self._ssrc is not None and report.ssrc != self._ssrc:
            self._strangers += 1
            return
        self._heard_ms, self._timed_out = now // 1_000_000, False
        if self._ssrc is not None and self.far.latch and self.far.rtp_port != self.far.rtcp_port:
            self._report_to = origin
        if report.sender is not None:
            self._last_sr = (report.sender.ntp >> 16 & 0xFFFFFFFF, now // 1_000_000)
        for block in report.blocks:
            if block.ssrc == self.sender.ssrc:
                self._remote_lost = block.lost
                self._remote_jitter = block.jitter / 8
                trip = rtcp.round_trip(ntp_at(now) >> 16 & 0xFFFFFFFF, block)
                self._round_trip = self._round_trip if trip is None else trip * 1000

    def _report(self, tick: int, now: int) -> None:
        self._chance = (self._chance * 1664525 + 1013904223) & 0xFFFFFFFF
        self._report_next = tick + 4000 + (self._chance >> 16) % 2001
        if self.far is None or self._report_to is None or not (self.sender.packets or self._ssrc is not None):
            return
        sender = None
        if self.sender.packets != self._reported:
            sender = rtcp.SenderInfo(
                ntp_at(now), self.sender.timestamp_at(now), self.sender.packets, self.sender.octets
            )
        self._reported = self.sender.packets
        report = rtcp.Report(self.sender.ssrc, sender, self._blocks(now // 1_000_000))
        one = self._sockets[0 if self.far.rtp_port == self.far.rtcp_port else 1]
        data = self._lock.lock(rtcp.encode(report, self.port.identity[16:].hex().encode()), rtcp=True)
        if data is not None:
            one.sendto(data, self._report_to)

    def _blocks(self, now_ms: int) -> tuple[rtcp.ReportBlock, ...]:
        if self._ssrc is None:
            return ()
        seen = self._reception
        fraction = rtcp.fraction_lost(seen.expected, seen.received, seen.previous)
        seen.previous = (seen.expected, seen.received)
        last, delay = 0, 0
        if self._last_sr is not None:
            last, delay = self._last_sr[0], (now_ms - self._last_sr[1]) * 65536 // 1000
        return (
            rtcp.ReportBlock(self._ssrc, fraction, seen.lost, seen.extended_highest, seen.jitter >> 4, last, delay),
        )

    # --- time ---

    def visit(self, tick: int, now: int) -> None:
        self.sender.key_due(tick, now)
        self.sender.play_due(tick, now)
        silent = now // 1_000_000 - self._heard_ms
        awaited = self.port.timeout_ms and self.far is not None and self.far.receives and self.far.sends
        if awaited and not self._timed_out and silent > self.port.timeout_ms:
            self._timed_out = True
            self._tell((Told.RTP_TIMEOUT, self.port.id, 0, 0, silent / 1000))
        if self._report_next <= tick:
            self._report(tick, now)

    def stats(self) -> dict[str, Any]:
        seen = self._reception
        return {
            "packets_received": self._received,
            "packets_sent": self.sender.packets,
            "packets_lost": self._lost_before + (seen.lost if self._ssrc is not None else 0),
            "jitter_ms": (seen.jitter >> 4) / 8,
            "jitter_max_ms": (max(self._jitter_max, seen.jitter_max) >> 4) / 8,
            "strangers": self._strangers,
            "stun": self._stun,
            "remote_lost": self._remote_lost,
            "unauthenticated": self._lock.unauthenticated,
            "remote_jitter_ms": self._remote_jitter,
            "round_trip_ms": self._round_trip,
        }


def ntp_at(now: int) -> int:
    """64-bit NTP time stamp of a time in ns since 1970."""
    return (now // 1_000_000_000 + 2208988800) << 32 | ((now % 1_000_000_000) << 32) // 1_000_000_000
