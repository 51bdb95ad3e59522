"""The media of a leg: one port of a media plane, and the offer/answer state that belongs to it (RFC 3264)."""

import msgspec

from engine.line import Line
from engine.media.plane import Codec, Direction, Plane, PortId, Remote, SrtpSuite
from engine.media.profile import MediaProfile
from engine.sdp import describe
from engine.sdp.crypto import PREFERENCE, SrtpKey, SrtpPolicy
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, is_hold, offer
from engine.sip.flow import Flow


class Stream:
    """Opened at most once; a release that comes first, or meanwhile, closes it as soon as it is open."""

    __slots__ = (
        "_codecs",
        "_local",
        "_port",
        "_released",
        "_said",
        "_session_id",
        "_srtp",
        "_version",
        "dtmf",
        "plane",
        "remote",
    )

    def __init__(self, plane: Plane, profile: MediaProfile, codecs: tuple[Codec, ...], session_id: int) -> None:
        """codecs: for a profile that names none. session_id: the same for the life of the leg (RFC 8866 §5.2)."""
        self.plane = plane
        self.remote: Remote | None = None
        """What was negotiated last."""
        self._codecs = profile.codecs or codecs
        self.dtmf = profile.dtmf
        """Keys travel as RFC 4733 events; else in SIP INFO."""
        self._srtp = profile.srtp
        self._session_id = session_id
        self._version = 0
        self._port: PortId | None = None
        self._local: LocalMedia | None = None
        self._said = b""  # our latest description
        self._released = False

    @property
    def usable(self) -> bool:
        """There is a port, and it was not given back: it may be commanded."""
        return self._port is not None and not self._released

    @property
    def present(self) -> bool:
        """The plane has not yet said that it closed the port."""
        return self._port is not None

    @property
    def port(self) -> PortId:
        """Only while `present`."""
        assert self._port is not None
        return self._port

    @property
    def held(self) -> bool:
        """The far end does not want to hear us."""
        return self.remote is not None and is_hold(self.remote)

    async def open(self, line: Line, flow: Flow) -> PortId:
        """Bind a port for a peer whose SIP comes by `flow`. Raises PlaneError."""
        policy = self._srtp or line.settings.srtp
        bind = line.media_bind(flow)
        port, rtp_port = await self.plane.open(bind, rtp_timeout=line.settings.rtp_timeout)
        self._port = port
        keys = () if policy is SrtpPolicy.FORBIDDEN else tuple(_new_key(line, suite) for suite in PREFERENCE)
        host, ptime_ms = line.media_shown(bind, flow), line.settings.ptime_ms
        self._local = LocalMedia(host, rtp_port, self._codecs, ptime_ms, dtmf=self.dtmf, srtp=policy, keys=keys)
        if self._released:
            self.plane.close(port)
        return port

    def release(self) -> None:
        """Give the port back; PortClosed will bring its statistics."""
        if not self._released:
            self._released = True
            if self._port is not None:
                self.plane.close(self._port)

    def closed(self) -> None:
        """PortClosed came."""
        self._port = None
        self._released = True

    def prefer(self, first: str) -> None:
        """Offer this codec first, if it is one of ours. To be called before `open`."""
        if first in self._codecs:
            self._codecs = (Codec(first), *(codec for codec in self._codecs if codec != first))

    def offer(self) -> bytes:
        """Our next offer."""
        assert self._local is not None
        self._version += 1
        before = describe.parse(self._said) if self._said else None
        self._said = offer(self._local, self._session_id, self._version, before)
        return self._said

    def repeated(self) -> bytes:
        """Our latest description again, as an offer that changes nothing."""
        return self._said

    def answer(self, body: bytes) -> bytes:
        """Answer an offer and set the plane to it. Raises SdpError or NotAcceptable, changing nothing.

        A first offer without a live stream is refused: there would be nobody to talk to. Later it means silence."""
        assert self._local is not None
        answered = answer(describe.parse(body), self._local, self._session_id, self._version + 1)
        if answered.remote is None and self.remote is None:
            raise NotAcceptable("no live stream is offered")
        self._version += 1
        self._said = answered.body
        self._connect(answered.remote)
        return answered.body

    def accept(self, body: bytes) -> None:
        """Take the answer to our offer. Raises SdpError or NotAcceptable."""
        assert self._local is not None
        answered = describe.parse(body)
        several = self._said.count(b"m=") > 1
        self._connect(accept(self._local, answered, describe.parse(self._said) if several else None))

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


def _new_key(line: Line, suite: SrtpSuite) -> SrtpKey:
    """Of one stream only: a key is never used by two (RFC 4568 §7.1.1)."""
    return SrtpKey(suite, line.ids.octets(suite.key_octets))
