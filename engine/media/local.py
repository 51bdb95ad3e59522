"""The plane over a core in this process: binds sockets, loads clips, opens recording files, names what comes back."""

import errno
import ipaddress
import os
import random
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.media import clips, wav
from engine.media.core import MAX_CLIPS_A_PLAY, MAX_MEMBERS, Core, Far, Told
from engine.media.plane import (
    Dtmf,
    Health,
    MediaEvent,
    PlaneError,
    PlayDone,
    PlayId,
    PortClosed,
    PortId,
    PortStats,
    RecordingDone,
    Remote,
    RtpTimeout,
)
from engine.media.protocol import PortState
from engine.rtp.dtmf import DIGITS

BIND_TRIES = 200
_DSCP_EF = 0xB8
"""RFC 3246: expedited forwarding, as the octet of the IP header."""
_PTIMES = (20, 30, 40)
MAX_RTP_TIMEOUT = 86400.0
MIN_DTMF_MS, MAX_DTMF_MS = 40, 8000


class LocalPlane:
    """plane.Plane without waiting: open and load are plain functions. `poll` gives the events."""

    def __init__(self, core: Core, *, ports: range, recordings: Path, chance: random.Random) -> None:
        """ports: UDP ports to use; even ones carry RTP, the odd ones after them RTCP."""
        self._core = core
        self._free = deque(port for port in ports if port % 2 == 0 and port + 1 in ports)
        # To the first ports, phones of calls may still send that were those of a process that died in our place.
        self._free.rotate(-chance.randrange(len(self._free)))
        self._recordings = recordings
        self._chance = chance
        self._states: dict[int, PortState] = {}
        self._clips: dict[str, tuple[int, float, float]] = {}
        self._paths: dict[int, str] = {}
        self._failed: list[MediaEvent] = []

    def ports(self) -> list[PortId]:
        """Open ports."""
        return [PortId(port) for port in self._states]

    @property
    def in_use(self) -> bool:
        """A port is open."""
        return bool(self._states)

    def states(self) -> dict[PortId, PortState]:
        """What each open port was told to do."""
        return {PortId(port): state for port, state in self._states.items()}

    def open(self, host: str, *, rtp_timeout: float = 0.0, rtp_port: int = 0) -> tuple[PortId, int]:
        """As plane.Plane.open. Raises PlaneError."""
        family = _family(host)
        if not 0 <= rtp_timeout <= MAX_RTP_TIMEOUT:
            raise PlaneError(f"rtp_timeout of {rtp_timeout} s")
        if rtp_port and rtp_port in self._free:
            self._free.remove(rtp_port)
            self._free.appendleft(rtp_port)
        for _ in range(min(BIND_TRIES, len(self._free))):
            number = self._free.popleft()
            if (pair := _bind(family, host, number)) is not None:
                break
            self._free.append(number)  # somebody else's: tried again last of all
        else:
            raise PlaneError(f"no free RTP port on {host}")
        identity = self._chance.randbytes(24)
        try:
            port = self._core.attach(*pair, family=family, timeout_ms=int(rtp_timeout * 1000), identity=identity)
        except RuntimeError as error:
            for descriptor in pair:
                socket.close(descriptor)
            self._free.append(number)
            raise PlaneError(str(error)) from error
        self._states[port] = PortState(number)
        return PortId(port), number

    def load(self, paths: Sequence[str]) -> dict[str, float]:
        """As plane.Plane.load. Raises PlaneError."""
        return {path: self._clip(path)[1] for path in paths}

    def _clip(self, path: str) -> tuple[int, float, float]:
        """Its number, seconds, and the file's time: a changed file is loaded anew."""
        try:
            modified = os.stat(path).st_mtime
        except OSError as error:
            raise PlaneError(f"clip {path}: {error.strerror}") from error
        known = self._clips.get(path)
        if known is None or known[2] != modified:
            clip = clips.load(path)
            try:
                number = self._core.add_clip(clip.pcmu, clip.pcma)
            except RuntimeError as error:
                raise PlaneError(f"clip {path}: {error}") from error
            known = self._clips[path] = (number, clip.seconds, modified)
        return known

    def connect(self, port: PortId, remote: Remote) -> None:
        """Raises PlaneError for a payload type, port number or key that cannot be."""
        kinds = (remote.payload_type, remote.dtmf_type or 0)
        numbers = (remote.port, remote.rtcp_port)
        if not all(0 <= kind < 128 for kind in kinds) or not all(0 <= number < 65536 for number in numbers):
            raise PlaneError(f"impossible remote: {remote}")
        if (srtp := remote.srtp) is not None and {len(srtp.local_key), len(srtp.remote_key)} != {srtp.suite.key_octets}:
            raise PlaneError(f"a key of {srtp.suite} has {srtp.suite.key_octets} octets")
        far = Far(
            host=remote.host,
            rtp_port=remote.port,
            rtcp_port=remote.rtcp_port or remote.port + 1,
            codec=remote.codec.value,
            payload_type=remote.payload_type,
            dtmf_type=remote.dtmf_type,
            ptime_ms=remote.ptime_ms if remote.ptime_ms in _PTIMES else 20,
            sends=remote.direction in ("sendrecv", "sendonly"),
            receives=remote.direction in ("sendrecv", "recvonly"),
            latch=remote.latch,
            srtp=remote.srtp,
        )
        self._core.connect(port, far)
        self._note(port, remote=msgspec.structs.replace(remote, srtp=None))

    def play(self, port: PortId, play: PlayId, clips: Sequence[str], *, loop: bool, barge_in: bool) -> None:
        """Clips that cannot be loaded: PlayDone at once, not finished, and PlaneError raised to say why."""
        try:
            if len(clips) > MAX_CLIPS_A_PLAY:
                raise PlaneError(f"more than {MAX_CLIPS_A_PLAY} clips in one play")
            numbers = [self._clip(path)[0] for path in clips]
        except PlaneError:
            self._core.play(port, play, [], False, False, True)
            raise
        self._core.play(port, play, numbers, loop, barge_in)
        self._note(port, looping=loop)

    def stop(self, port: PortId) -> None:
        self._core.stop(port)
        self._note(port, looping=False)

    def bridge(self, a: PortId, b: PortId) -> None:
        self._core.bridge(a, b)
        for one, other in ((a, b), (b, a)):
            self._part(one)
            self._note(one, partner=other)

    def mix(self, ports: Sequence[PortId], hears: Sequence[Sequence[PortId]]) -> None:
        """Raises PlaneError for too many, for one given twice, and when somebody hears who is not there."""
        place = {port: n for n, port in enumerate(ports)}
        if len(ports) > MAX_MEMBERS or len(place) != len(ports) or len(hears) != len(ports):
            raise PlaneError(f"a conference has at most {MAX_MEMBERS} members, each once, each with its ears")
        if any(port not in place for heard in hears for port in heard):
            raise PlaneError("one cannot hear who is not in the conference")
        self._core.mix(ports, [sum(1 << place[port] for port in set(heard)) for heard in hears])
        for port, heard in zip(ports, hears, strict=True):
            self._part(port)
            self._note(port, hears=tuple(heard))

    def unbridge(self, a: PortId) -> None:
        self._core.unbridge(a)
        self._part(a)

    def record(self, left: PortId, right: PortId, path: str, also: Sequence[PortId] = ()) -> None:
        """A file that cannot be made: RecordingDone with 0 seconds and 1 lost frame, and PlaneError raised."""
        rights = [right, *also]
        try:
            if len(rights) >= MAX_MEMBERS:
                raise PlaneError(f"a recording has at most {MAX_MEMBERS} voices")
            token = self._core.record(left, rights, wav.create(self._recordings, path))
        except (PlaneError, RuntimeError) as error:
            self._failed.append(RecordingDone(left, path, 0.0, 1, str(error), -1.0))
            raise PlaneError(str(error)) from error
        self._paths[token] = path
        self._note(left, recording=path)

    def stop_recording(self, left: PortId) -> None:
        self._core.stop_recording(left)

    def send_dtmf(self, port: PortId, digit: str, duration_ms: int = 160) -> None:
        """Raises PlaneError when `digit` is not one of 0-9 * # A-D."""
        if len(digit) != 1 or (event := DIGITS.find(digit)) < 0:
            raise PlaneError(f"no DTMF digit: {digit!r}")
        self._core.send_dtmf(port, event, max(MIN_DTMF_MS, min(MAX_DTMF_MS, duration_ms)))

    def close(self, port: PortId) -> None:
        self._core.close(port)

    def close_all(self) -> None:
        for port in self._states:
            self._core.close(port)

    def flush(self) -> None:
        """Let the core see the commands at once."""
        self._core.kick()

    def poll(self) -> list[MediaEvent]:
        """What happened since the last call, in order."""
        failed, self._failed = self._failed, []
        return failed + [self._event(*told) for told in self._core.poll()]

    def _event(self, kind: int, number: int, a: Any, b: int, x: float) -> MediaEvent:
        port = PortId(number)
        match kind:
            case Told.DTMF:
                return Dtmf(port, DIGITS[a], "rfc4733")
            case Told.PLAY_DONE:
                return PlayDone(port, PlayId(a), bool(b), x)
            case Told.RTP_TIMEOUT:
                return RtpTimeout(port, x)
            case Told.RECORDING_DONE:
                token, number, refused = a
                path = self._paths.pop(token)
                if (state := self._states.get(port)) is not None and state.recording == path:  # not the next one
                    self._note(port, recording="")
                return RecordingDone(port, path, x, b, os.strerror(number) if number else "", refused)
            case _:
                self._part(port)
                self._free.append(self._states.pop(number).rtp_port)
                return PortClosed(port, PortStats(**a))

    def _note(self, port: int, **changed: Any) -> None:
        if (state := self._states.get(port)) is not None:
            self._states[port] = msgspec.structs.replace(state, **changed)

    def _part(self, port: int) -> None:
        """It is bridged to nobody any more, and nobody to it, and in no conference."""
        self._note(port, hears=())
        state = self._states.get(port)
        if state is not None and state.partner:
            self._note(state.partner, partner=PortId(0))
            self._note(port, partner=PortId(0))

    def health(self) -> Health:
        return Health(PortId(0), **self._core.health(), cpu_seconds=time.process_time())


def _family(host: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise PlaneError(f"not an IP address: {host!r}") from error
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _bind(family: socket.AddressFamily, host: str, number: int) -> tuple[int, int] | None:
    """Descriptors of an RTP and an RTCP socket, or None when a port is taken. Raises PlaneError for a foreign host."""
    made: list[socket.socket] = []
    try:
        for port in (number, number + 1):
            made.append(sock := socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _DSCP_EF)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _DSCP_EF)
            sock.bind((host, port))
    except OSError as error:
        for sock in made:
            sock.close()
        if error.errno != errno.EADDRINUSE:
            raise PlaneError(f"RTP port on {host}: {error.strerror}") from error
        return None
    return made[0].detach(), made[1].detach()
