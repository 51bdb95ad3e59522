"""A plane over a stepped core, and phones at the other end of its ports: real loopback sockets, time given by hand."""

import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pylibsrtp
from numpy.typing import NDArray

from engine.media.core import Core
from engine.media.local import LocalPlane
from engine.media.plane import Codec, MediaEvent, PlayId, PortId, Remote, Srtp, SrtpSuite
from engine.rtp import packet
from engine.rtp.dtmf import TelephoneEvent
from engine.rtp.dtmf import encode as encode_event
from engine.rtp.packet import Packet
from engine.rtp.rtcp import Report
from engine.rtp.rtcp import parse as parse_report

MS = 1_000_000
FRAME = 160
START = 1_000_000 * MS
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(31000 + 250 * (WORKER % 4), 31250 + 250 * (WORKER % 4))
"""Of each process of a parallel run its own: a packet to a port just closed must not reach another test's."""


def tone_wav(samples: NDArray[np.int16], *, channels: int = 1, rate: int = 8000) -> bytes:
    """A WAV file of these samples, written without the modules under test."""
    data = samples.astype("<i2").tobytes()
    numbers = np.array([16], "<u4").tobytes() + np.array([1, channels], "<u2").tobytes()
    numbers += np.array([rate, rate * 2 * channels], "<u4").tobytes() + np.array([2 * channels, 16], "<u2").tobytes()
    chunks = b"WAVEfmt " + numbers + b"data" + np.array([len(data)], "<u4").tobytes() + data
    return b"RIFF" + np.array([len(chunks)], "<u4").tobytes() + chunks


PROFILES = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: 1,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: 2,
    SrtpSuite.AEAD_AES_128_GCM: 7,
}
"""libsrtp's numbers (RFC 5764 §4.1.2, RFC 7714 §14.2)."""


def keys(suite: SrtpSuite, seed: int = 0) -> Srtp:
    chance = random.Random(seed)
    local, remote = (chance.randbytes(suite.key_octets) for _ in range(2))
    return Srtp(suite=suite, local_key=local, remote_key=remote)


class Cipher:
    """The far end's libsrtp: it has the keys the other way round."""

    def __init__(self, srtp: Srtp) -> None:
        self.out, self.in_ = (
            pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[srtp.suite]))
            for key, direction in (
                (srtp.remote_key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND),
                (srtp.local_key, pylibsrtp.Policy.SSRC_ANY_INBOUND),
            )
        )


class Phone:
    """One far end: an RTP and an RTCP socket, and a counter for what it sends."""

    def __init__(self, rig: "Rig", host: str, ssrc: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.rig, self.host, self.ssrc = rig, host, ssrc
        self.rtp, self.rtcp = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for one in (self.rtp, self.rtcp):
            one.bind((host, 0))
            one.setblocking(False)
        self.sequence, self.timestamp = 100, 5000
        self.target = (host, 0)
        self.port = PortId(0)
        self.srtp: Srtp | None = None
        self._cipher: Cipher | None = None

    def secure(self, srtp: Srtp | None) -> None:
        """Speak SRTP from now on, and say so in `remote`."""
        self.srtp, self._cipher = srtp, Cipher(srtp) if srtp else None

    def remote(self, **change: Any) -> Remote:
        """What its SDP would have said."""
        fields: dict[str, Any] = {
            "host": self.host,
            "port": self.rtp.getsockname()[1],
            "rtcp_port": self.rtcp.getsockname()[1],
            "codec": Codec.PCMU,
            "payload_type": 0,
            "dtmf_type": 101,
            "srtp": self.srtp,
        }
        return Remote(**(fields | change))

    def send(self, payload: bytes, *, payload_type: int = 0, marker: bool = False) -> None:
        """The next packet of its stream."""
        self.raw(packet.encode(Packet(payload_type, self.sequence, self.timestamp, self.ssrc, payload, marker)))
        self.skip()

    def skip(self, packets: int = 1) -> None:
        """Packets that the network lost."""
        self.sequence = (self.sequence + packets) & 0xFFFF
        self.timestamp = (self.timestamp + FRAME * packets) & 0xFFFFFFFF

    def key(self, event: int, duration: int, *, end: bool = False, payload_type: int = 101) -> None:
        """One telephone-event packet of the press that began at `timestamp`."""
        payload = encode_event(TelephoneEvent(event, end, 10, duration))
        self.raw(packet.encode(Packet(payload_type, self.sequence, self.timestamp, self.ssrc, payload)))
        self.sequence = (self.sequence + 1) & 0xFFFF

    def raw(self, data: bytes) -> bytes:
        """Send an RTP packet, protected when we speak SRTP; returns what went out."""
        if self._cipher is not None:
            try:
                data = self._cipher.out.protect(data)
            except (pylibsrtp.Error, ValueError):
                return b""  # no packet, or a sequence number used before: it will not send this
        self.naked(data)
        return data

    def naked(self, data: bytes) -> None:
        """Send as it is."""
        self.rtp.sendto(data, self.target)

    def report(self, data: bytes, *, mux: bool = False) -> None:
        """Send RTCP; mux: from and to the RTP port."""
        if self._cipher is not None:
            data = self._cipher.out.protect_rtcp(data)
        if mux:
            self.naked(data)
        else:
            self.rtcp.sendto(data, (self.target[0], self.target[1] + 1))

    def received(self) -> list[Packet]:
        """Since the last call."""
        return [packet.parse(self._cipher.in_.unprotect(data) if self._cipher else data) for data in _drain(self.rtp)]

    def reports(self) -> list[Report]:
        datagrams = _drain(self.rtcp)
        found = [parse_report(self._cipher.in_.unprotect_rtcp(data) if self._cipher else data) for data in datagrams]
        assert all(found), "the plane sent a malformed RTCP packet"
        return [report for report in found if report is not None]


def _drain(one: socket.socket) -> list[bytes]:
    out = []
    while True:
        try:
            out.append(one.recv(65536))
        except BlockingIOError:
            return out


class Rig:
    def __init__(self, core: Core, folder: Path, ports: range = PORTS) -> None:
        self.core, self.folder, self.now = core, folder, START
        self.recordings = folder / "recordings"
        self.recordings.mkdir(exist_ok=True)
        self.plane = LocalPlane(core, ports=ports, recordings=self.recordings, chance=random.Random(7))
        self.phones: list[Phone] = []
        self._plays = 0

    def phone(
        self,
        *,
        host: str = "127.0.0.1",
        rtp_timeout: float = 0.0,
        connect: bool = True,
        srtp: Srtp | None = None,
        **change: Any,
    ) -> Phone:
        """A port with a phone at its other end."""
        phone = Phone(self, host, 0xA0000000 + len(self.phones))
        self.phones.append(phone)
        phone.secure(srtp)
        phone.port, number = self.plane.open(host, rtp_timeout=rtp_timeout)
        phone.target = (host, number)
        if connect:
            self.plane.connect(phone.port, phone.remote(**change))
        self.step()
        return phone

    def stranger(self) -> Phone:
        """A phone that belongs to no port."""
        phone = Phone(self, "127.0.0.1", 0xBAD)
        self.phones.append(phone)
        return phone

    def clip(self, name: str, samples: NDArray[np.int16]) -> str:
        path = self.folder / name
        path.write_bytes(tone_wav(samples))
        return str(path)

    def play(self, phone: Phone, clips: Sequence[str], *, loop: bool = False, barge_in: bool = False) -> PlayId:
        self._plays += 1
        self.plane.play(phone.port, PlayId(self._plays), clips, loop=loop, barge_in=barge_in)
        self.step()
        return PlayId(self._plays)

    def step(self) -> None:
        self.core.step(self.now)

    def advance(self, ms: int, every: int = 5) -> None:
        """Let time pass in steps."""
        for _ in range(ms // every):
            self.now += every * MS
            self.step()

    def talk(self, frames: int, **speech: tuple[Phone, bytes]) -> None:
        """Each of the phones sends its payload every 20 ms."""
        for _ in range(frames):
            for phone, payload in speech.values():
                phone.send(payload)
            self.advance(20)

    def events(self) -> list[MediaEvent]:
        """Told since the last call, with all recordings that ended written."""
        self.step()
        self.core.drain()
        self.advance(20)
        return self.plane.poll()

    def close(self) -> None:
        self.plane.close_all()
        self.events()
        for phone in self.phones:
            phone.rtp.close()
            phone.rtcp.close()
