"""The media of a leg: a port of a media plane, the offer/answer state that belongs to it (RFC 3264), and its moves from
one plane to another."""

from dataclasses import dataclass

import msgspec

from engine.line import Line
from engine.media.plane import Codec, Direction, Plane, PortId, PortStats, Remote, Srtp, SrtpSuite
from engine.media.profile import MediaProfile
from engine.media.protocol import PortState
from engine.saved import StreamState, without_keys
from engine.sdp import describe
from engine.sdp.crypto import PREFERENCE, SrtpKey, SrtpPolicy
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, is_hold, offer
from engine.sip.flow import Flow


@dataclass(slots=True, eq=False)
class Seat:
    """One port, and what our descriptions say of it."""

    plane: Plane
    port: PortId
    local: LocalMedia
    closing: bool = False

    def close(self) -> None:
        """PortClosed will bring its statistics."""
        if not self.closing:
            self.closing = True
            self.plane.close(self.port)


class Stream:
    """Opened at most once; a release that comes first, or meanwhile, closes it as soon as it is open.

    A move takes another seat at once: what is commanded from then on is for the new port. The seat before, if its plane
    lives, stays open until the peer has agreed to the new one (`stale` until then), or until the move is taken back."""

    __slots__ = (
        "_codecs",
        "_left",
        "_offered",
        "_released",
        "_said",
        "_seat",
        "_session_id",
        "_srtp",
        "_stripped",
        "_told",
        "_version",
        "dtmf",
        "earlier",
        "plane",
        "remote",
    )

    def __init__(self, plane: Plane, profile: MediaProfile, codecs: tuple[Codec, ...], session_id: int) -> None:
        """codecs: for a profile that names none. session_id: the same for the life of the leg (RFC 8866 §5.2)."""
        self.plane = plane
        """Where it has its port, or is to have it."""
        self.remote: Remote | None = None
        """What was negotiated last."""
        self._codecs = profile.codecs or codecs
        self.dtmf = profile.dtmf
        """Keys travel as RFC 4733 events; else in SIP INFO."""
        self._srtp = profile.srtp
        self._session_id = session_id
        self._version = 0
        self._seat: Seat | None = None
        self._left: list[Seat] = []  # seats before, still open
        self._offered: Seat | None = None  # of our latest offer
        self._told: Seat | None = None  # that the peer has agreed to
        self._said = b""  # our latest description
        self._stripped = False  # of its keys: it can't be said again
        self._released = False
        self.earlier = PortStats()
        """Of ports that are closed already."""

    @property
    def usable(self) -> bool:
        """There is a port, and it was not given back: it may be commanded."""
        return self._seat is not None and not self._released

    @property
    def present(self) -> bool:
        """A plane has not yet said that it closed a port of ours."""
        return self._seat is not None or bool(self._left)

    @property
    def port(self) -> PortId:
        """Only while there is one."""
        assert self._seat is not None
        return self._seat.port

    @property
    def held(self) -> bool:
        """The far end does not want to hear us."""
        return self.remote is not None and is_hold(self.remote)

    @property
    def stale(self) -> bool:
        """The peer knows of another port than ours: it must hear an offer, and agree."""
        known = self._told or self._offered
        return known is not None and known is not self._seat

    @property
    def unmoved(self) -> bool:
        """Stale, but at the address that the peer knows, and in the clear: it need not agree."""
        known, seat = self._told or self._offered, self._seat
        if known is None or seat is None or (self.remote is not None and self.remote.srtp is not None):
            return False
        return (known.local.host, known.local.port) == (seat.local.host, seat.local.port)

    def is_at(self, plane: Plane, port: PortId) -> bool:
        return self._seat is not None and self._seat.plane is plane and self._seat.port == port

    async def open(self, line: Line, flow: Flow) -> PortId:
        """Bind a port for a peer whose SIP comes by `flow`. Raises PlaneError."""
        self._seat = await self._bind(line, flow, self.plane)
        if self._released:
            self._seat.close()
        return self._seat.port

    async def move(self, line: Line, flow: Flow, plane: Plane) -> PortId | None:
        """Take a port of another plane; on one that began anew the number that the peer sends to, if it is free: no
        stranger's packets come there. Raises PlaneError, changing nothing. None: it was released meanwhile."""
        known = self._told or self._offered
        seat = await self._bind(line, flow, plane, 0 if known is None else known.local.port)
        if self._released:
            seat.close()
            return None
        if self._seat is not None:
            self._left.append(self._seat)
        self._seat, self.plane = seat, plane
        if self.remote is not None:
            plane.connect(seat.port, self.remote)
        return seat.port

    def state(self) -> StreamState:
        """For `restore`."""
        seat, known, remote = self._seat, self._told or self._offered, self.remote
        return StreamState(
            plane=self.plane.name,
            port=None if seat is None else seat.port,
            local=("", 0) if seat is None else (seat.local.host, seat.local.port),
            known=None if known is None else (known.local.host, known.local.port),
            agreed=self._told is not None,
            released=self._released,
            version=self._version,
            said=without_keys(self._said),
            keyed=self._stripped or b"a=crypto:" in self._said,
            remote=None if remote is None else msgspec.structs.replace(remote, srtp=None),
            suite=None if remote is None or remote.srtp is None else remote.srtp.suite,
            codecs=self._codecs,
            dtmf=self.dtmf,
            srtp=self._srtp,
            earlier=self.earlier,
        )

    def restore(self, line: Line, state: StreamState) -> None:
        """Be what `state` was taken from. Keys are new: the next description that is sent has them."""
        self._codecs, self.dtmf, self._srtp = state.codecs, state.dtmf, state.srtp
        self._version, self._said, self._released = state.version, state.said, state.released
        self._stripped = state.keyed
        self.earlier = state.earlier
        self.remote = state.remote
        if state.remote is not None and state.suite is not None:
            self.remote = msgspec.structs.replace(
                state.remote, srtp=Srtp(suite=state.suite, local_key=b"", remote_key=b"")
            )
        known = None
        if state.port is not None:
            seat = Seat(self.plane, state.port, self._local(line, *state.local), closing=state.released)
            self._seat = known = seat
        if state.known is not None and (known is None or state.known != state.local):
            known = Seat(self.plane, PortId(0), self._local(line, *state.known), closing=True)
        self._offered = known if state.known is not None else None
        self._told = known if state.agreed else None

    def matches(self, there: PortState) -> bool:
        """Whether the plane has been told where to send."""
        return self.remote is None or there.remote == msgspec.structs.replace(self.remote, srtp=None)

    @property
    def unkeyed(self) -> bool:
        """There is an answer, but to keys that are not known any more: nothing is heard until they are changed."""
        return self._stripped and self.remote is not None and self.remote.srtp is not None

    def connect_again(self) -> None:
        """The plane has not been told, or something else. Not when the keys are unknown."""
        if self.remote is not None and not self.unkeyed and self.usable:
            self.plane.connect(self.port, self.remote)

    async def _bind(self, line: Line, flow: Flow, plane: Plane, wanted: int = 0) -> Seat:
        bind = line.media_bind(flow)
        port, rtp_port = await plane.open(bind, rtp_timeout=line.settings.rtp_timeout, rtp_port=wanted)
        return Seat(plane, port, self._local(line, line.media_shown(bind, flow), rtp_port))

    def _local(self, line: Line, host: str, rtp_port: int) -> LocalMedia:
        policy, ptime_ms = self._srtp or line.settings.srtp, line.settings.ptime_ms
        keys = () if policy is SrtpPolicy.FORBIDDEN else tuple(_new_key(line, suite) for suite in PREFERENCE)
        return LocalMedia(host, rtp_port, self._codecs, ptime_ms, dtmf=self.dtmf, srtp=policy, keys=keys)

    def release(self) -> None:
        """Give the port back; PortClosed will bring its statistics."""
        self._released = True
        for seat in (*self._left, *((self._seat,) if self._seat is not None else ())):
            seat.close()

    def closed(self, plane: Plane, port: PortId, stats: PortStats) -> bool:
        """PortClosed came. True: that was the last one, `earlier` has the sum."""
        seats = [*self._left, *((self._seat,) if self._seat is not None else ())]
        seat = next((seat for seat in seats if seat.plane is plane and seat.port == port), None)
        if seat is None:
            return False
        self.earlier = _sum(self.earlier, stats)
        if seat is self._seat:
            self._seat = None
            self._released = True
        else:
            self._left.remove(seat)
        return not self.present

    def lost(self, plane: Plane) -> bool:
        """A plane is gone, and what it knew with it. True: our port was there."""
        self._left = [seat for seat in self._left if seat.plane is not plane]
        if self._seat is None or self._seat.plane is not plane:
            return False
        self._seat = None
        return True

    def settled(self) -> None:
        """The peer knows where we are: nothing of it comes to the seats before."""
        for seat in self._left:
            seat.close()

    def taken_back(self) -> bool:
        """The peer refused the offer of our new port. True: we go on at the one that it knows. False: that is gone."""
        if self.unmoved:
            self._told = self._seat
            return True
        before = self._told
        if before is None or before not in self._left or self._seat is None:
            return False
        self._left.remove(before)
        self._left.append(self._seat)
        self._seat.close()
        self._seat, self.plane = before, before.plane
        return True

    def prefer(self, first: str) -> None:
        """Offer this codec first, if it is one of ours. To be called before `open`."""
        if first in self._codecs:
            self._codecs = (Codec(first), *(codec for codec in self._codecs if codec != first))

    def offer(self) -> bytes:
        """Our next offer."""
        assert self._seat is not None
        self._version += 1
        before = describe.parse(self._said) if self._said else None
        self._said = offer(self._seat.local, self._session_id, self._version, before)
        self._stripped = False
        self._offered = self._seat
        return self._said

    def repeated(self) -> bytes:
        """Our latest description again, as an offer that changes nothing but keys that are not known any more. Not
        while `stale`."""
        if self._stripped:
            return self.offer()
        self._offered = self._told or self._offered
        return self._said

    def answer(self, body: bytes) -> bytes:
        """Answer an offer and set the plane to it. Raises SdpError or NotAcceptable, changing nothing.

        A first offer without a live stream is refused: there would be nobody to talk to. Later it means silence."""
        assert self._seat is not None
        answered = answer(describe.parse(body), self._seat.local, self._session_id, self._version + 1)
        if answered.remote is None and self.remote is None:
            raise NotAcceptable("no live stream is offered")
        self._version += 1
        self._said = answered.body
        self._stripped = False
        self._told = self._seat
        self._connect(answered.remote)
        return answered.body

    def accept(self, body: bytes) -> None:
        """Take the answer to our offer. Raises SdpError or NotAcceptable."""
        assert self._offered is not None
        answered = describe.parse(body)
        several = self._said.count(b"m=") > 1
        remote = accept(self._offered.local, answered, describe.parse(self._said) if several else None)
        self._told = self._offered
        if self._stripped and remote.srtp is not None:
            self.remote = remote
            return
        self._connect(remote)

    def watch(self) -> None:
        """Count the far end's silence from now, if there was media before the answer: a caller need not send any until
        then, and one whose phone rings has none to send."""
        if self.remote is not None and self.usable:
            self.plane.connect(self.port, msgspec.structs.replace(self.remote, direction=Direction.INACTIVE))
            self.plane.connect(self.port, self.remote)

    def _connect(self, remote: Remote | None) -> None:
        if remote is None:
            assert self.remote is not None
            remote = msgspec.structs.replace(self.remote, direction=Direction.INACTIVE)
        self.remote = remote
        if self.usable:
            self.plane.connect(self.port, remote)
        if not self.stale:
            self.settled()


def _new_key(line: Line, suite: SrtpSuite) -> SrtpKey:
    """Of one stream only: a key is never used by two (RFC 4568 §7.1.1)."""
    return SrtpKey(suite, line.ids.octets(suite.key_octets))


def _sum(before: PortStats, now: PortStats) -> PortStats:
    """Counts add up; what was measured last is of the port that measured it."""
    measured = now if now.packets_received or not before.packets_received else before
    return PortStats(
        packets_received=before.packets_received + now.packets_received,
        packets_sent=before.packets_sent + now.packets_sent,
        packets_lost=before.packets_lost + now.packets_lost,
        jitter_ms=measured.jitter_ms,
        jitter_max_ms=max(before.jitter_max_ms, now.jitter_max_ms),
        strangers=before.strangers + now.strangers,
        stun=before.stun + now.stun,
        remote_lost=measured.remote_lost,
        unauthenticated=before.unauthenticated + now.unauthenticated,
        remote_jitter_ms=measured.remote_jitter_ms,
        round_trip_ms=measured.round_trip_ms,
    )
