"""Offer/answer (RFC 3264) for one audio stream of G.711 with telephone-event (RFC 4733), plain or as SRTP with its
keys in the description (RFC 4568), as pure functions.

One audio m-line is ours; every other m-line of an offer is refused with port 0 (§6). Direction in a `Remote` is ours.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from engine.media.plane import Codec, Direction, Remote
from engine.sdp import crypto
from engine.sdp.crypto import SECURE_PROTOCOLS, Crypto, SrtpKey, SrtpPolicy
from engine.sdp.describe import Attribute, Connection, Description, Media, Origin, Rtpmap

PTIMES: Final = (20, 30, 40)
DTMF_TYPE: Final = 101
_PAYLOAD_TYPES: Final = {Codec.PCMU: 0, Codec.PCMA: 8}
_PROTOCOLS: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
"""RTP/AVPF (RFC 4585) is RTP/AVP with feedback that we may leave out."""
_DIRECTIONS: Final = frozenset(Direction)


class NotAcceptable(Exception):
    """No stream that both sides can carry: 488 Not Acceptable Here."""

    status: Final = 488


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our end of the stream: where we receive, and what we are willing to do."""

    host: str
    """Numeric, IPv4 or IPv6 without brackets: goes into c= and o=."""
    port: int
    """RTP; our RTCP is on port + 1."""
    codecs: tuple[Codec, ...]
    ptime_ms: int = 20
    direction: Direction = Direction.SENDRECV
    dtmf: bool = True
    rtcp_mux: bool = False
    """Answer an offered rtcp-mux with yes (RFC 5761). Never offered."""
    srtp: SrtpPolicy = SrtpPolicy.FORBIDDEN
    keys: tuple[SrtpKey, ...] = ()
    """Of what we send: one of each suite that we are willing to speak, best first. The same through all descriptions
    of a session; never those of another."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What both sides of a stream can do. crypto: theirs and ours; None: plain RTP."""

    codec: Rtpmap
    crypto: tuple[Crypto, Crypto] | None


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    remote: Remote | None
    """None: the offer holds no live stream (all ports 0, or no m-line), and so does the answer."""


def offer(local: LocalMedia, session_id: int, version: int, previous: Description | None = None) -> bytes:
    """Make an offer. Raise `version` by one for each changed description of a session (§8).

    previous: our latest description of this session (offer or answer), for a re-offer. Its m-lines stay where they
    are, refused ones with port 0, and payload types keep their meaning (§8.2, §8.3.2).
    """
    if previous is None or not previous.media:
        protocol = "RTP/SAVP" if local.srtp is SrtpPolicy.REQUIRED else "RTP/AVP"
        media: tuple[Media, ...] = (_offered_audio(local, [], protocol),)
    else:
        index = _live_audio(previous)
        old = previous.media[index]
        audio = _offered_audio(local, old.rtpmaps(), old.protocol)
        media = tuple(audio if i == index else _refused(m) for i, m in enumerate(previous.media))
    return _describe(local, session_id, version, media)


def answer(offered: Description, local: LocalMedia, session_id: int, version: int) -> Answer:
    """Answer an offer: the first codec of its sender's list that is also ours, and telephone-event. Of several audio
    streams (RTP/SAVP and RTP/AVP, say) the first that we can carry.

    Raises NotAcceptable when a live stream is offered but none that we can carry.
    """
    for index, media in enumerate(offered.media):
        if (chosen := _choose(media, local)) is None:
            continue
        remote = _remote(offered, media, chosen, local)
        lines = [_refused(m) for m in offered.media]
        lines[index] = _answered(media, chosen, remote, local)
        return Answer(_describe(local, session_id, version, tuple(lines)), remote)
    if any(media.port for media in offered.media):
        raise NotAcceptable(_objection(offered, local))
    return Answer(_describe(local, session_id, version, tuple(_refused(m) for m in offered.media)), None)


def accept(sent_offer: LocalMedia, answered: Description, sent: Description | None = None) -> Remote:
    """What our offer came to. `sent` is the offer itself, needed only for a re-offer with several m-lines.

    Raises NotAcceptable when the answer refuses our stream, or takes it with a codec or key that we did not offer.
    """
    index = _live_audio(sent) if sent is not None and sent.media else 0
    if index >= len(answered.media):
        raise NotAcceptable("the answer lacks our media line")
    media = answered.media[index]
    codec = _codec(media, sent_offer)
    if codec is None:
        raise NotAcceptable("the answer refuses the audio stream")
    forbidden = sent_offer.srtp is SrtpPolicy.FORBIDDEN
    chosen = _Chosen(codec, None if forbidden else crypto.answered(media, sent_offer.keys))
    foreign = chosen.crypto is None and media.attribute("crypto") is not None and not forbidden
    if foreign or not _is_secure_enough(media, chosen, sent_offer):
        raise NotAcceptable("the answer has no SRTP key that fits our offer")
    return _remote(answered, media, chosen, sent_offer)


def is_hold(remote: Remote) -> bool:
    """The far end does not want to hear us (sendonly, inactive or an address of 0.0.0.0)."""
    return remote.direction in (Direction.RECVONLY, Direction.INACTIVE)


def _offered_audio(local: LocalMedia, known: list[Rtpmap], protocol: str) -> Media:
    """known: the payload types that this session uses already; none of them gets a second meaning (§8.3.2)."""
    numbers = {m.encoding: m.payload_type for m in known if m.clock == 8000}
    wanted = [(codec.value, _PAYLOAD_TYPES[codec]) for codec in local.codecs]
    if local.dtmf:
        wanted.append(("TELEPHONE-EVENT", DTMF_TYPE))
    maps = []
    for encoding, usual in wanted:
        if encoding not in numbers:
            taken = set(numbers.values())
            numbers[encoding] = next(n for n in (usual, *range(96, 128)) if n not in taken)
        maps.append(Rtpmap(numbers[encoding], encoding, 8000, 1))
    audio = _audio(local.port, protocol, maps, local.ptime_ms, local.direction)
    if local.srtp is SrtpPolicy.FORBIDDEN:
        return audio
    return replace(audio, attributes=(*audio.attributes, *crypto.offered(local.keys)))


def _answered(media: Media, chosen: _Chosen, remote: Remote, local: LocalMedia) -> Media:
    maps = [chosen.codec]
    if remote.dtmf_type is not None:
        maps.append(Rtpmap(remote.dtmf_type, "TELEPHONE-EVENT", 8000, 1))
    audio = _audio(local.port, media.protocol, maps, remote.ptime_ms, remote.direction)
    if local.rtcp_mux and media.attribute("rtcp-mux") is not None:
        audio = replace(audio, attributes=(*audio.attributes, ("rtcp-mux", None)))
    if chosen.crypto is not None:
        audio = replace(audio, attributes=(*audio.attributes, chosen.crypto[1].attribute()))
    return audio


def _audio(port: int, protocol: str, maps: list[Rtpmap], ptime_ms: int, direction: Direction) -> Media:
    attributes: list[Attribute] = []
    for entry in maps:
        dtmf = _is_dtmf(entry)
        name = "telephone-event" if dtmf else entry.encoding
        attributes.append(("rtpmap", f"{entry.payload_type} {name}/{entry.clock}"))
        if dtmf:
            attributes.append(("fmtp", f"{entry.payload_type} 0-15"))
    attributes += [("ptime", str(ptime_ms)), (direction.value, None)]
    return Media("audio", port, protocol, tuple(str(m.payload_type) for m in maps), None, tuple(attributes))


def _refused(media: Media) -> Media:
    """Port 0, kind, protocol and formats as they were (§6)."""
    return Media(media.kind, 0, media.protocol, media.formats)


def _describe(local: LocalMedia, session_id: int, version: int, media: tuple[Media, ...]) -> bytes:
    family = "IP6" if ":" in local.host else "IP4"
    origin = Origin("-", str(session_id), str(version), family, local.host)
    return Description(origin, Connection(family, local.host), media).encode()


def _live_audio(description: Description) -> int:
    """Index of the m-line that is ours: the audio line with a port, else the first audio line, else the first."""
    audio = [i for i, m in enumerate(description.media) if m.kind == "audio"]
    return next((i for i in audio if description.media[i].port), audio[0] if audio else 0)


def _choose(media: Media, local: LocalMedia) -> _Chosen | None:
    """What we take of an offered line; None when we cannot carry it."""
    codec = _codec(media, local)
    if codec is None:
        return None
    forbidden = local.srtp is SrtpPolicy.FORBIDDEN
    chosen = _Chosen(codec, None if forbidden else crypto.choose(media, local.keys))
    return chosen if _is_secure_enough(media, chosen, local) else None


def _codec(media: Media, local: LocalMedia) -> Rtpmap | None:
    """First format of the line that we speak; None when the line is not live audio over RTP."""
    if media.kind != "audio" or not media.port or media.protocol not in _PROTOCOLS | SECURE_PROTOCOLS:
        return None
    for entry in media.rtpmaps():
        if entry.clock == 8000 and entry.channels == 1 and entry.encoding in local.codecs:
            return entry
    return None


def _is_secure_enough(media: Media, chosen: _Chosen, local: LocalMedia) -> bool:
    """RTP/SAVP must have a key (RFC 4568 §5.1.2); and so must everything when we require it."""
    required = local.srtp is SrtpPolicy.REQUIRED or media.protocol in SECURE_PROTOCOLS
    return chosen.crypto is not None or not required


def _objection(offered: Description, local: LocalMedia) -> str:
    """Why nothing that is offered can be had."""
    if not any(_codec(media, local) for media in offered.media):
        return "no audio stream with a codec in common"
    return "SRTP is not spoken here" if local.srtp is SrtpPolicy.FORBIDDEN else "no usable SRTP key (a=crypto)"


def _is_dtmf(entry: Rtpmap) -> bool:
    return entry.encoding == "TELEPHONE-EVENT" and entry.clock == 8000


def _remote(theirs: Description, media: Media, chosen: _Chosen, local: LocalMedia) -> Remote:
    connection = theirs.connection_of(media)
    if connection is None:
        raise NotAcceptable("no connection address")
    host, silent = _address(connection.host)
    dtmf = next((m.payload_type for m in media.rtpmaps() if _is_dtmf(m)), None) if local.dtmf else None
    return Remote(
        host=host,
        port=media.port,
        codec=Codec(chosen.codec.encoding),
        payload_type=chosen.codec.payload_type,
        dtmf_type=dtmf,
        ptime_ms=_ptime(media, local.ptime_ms),
        direction=_our_direction(_stated_direction(theirs, media), local.direction, silent),
        rtcp_port=_rtcp_port(media, local),
        srtp=crypto.srtp(chosen.crypto),
    )


def _address(host: str) -> tuple[str, bool]:
    """A unicast address, and whether it is the old sign of hold (0.0.0.0, RFC 3264 §8.4).

    Names are refused: resolving one would take time, and phones do not send them. So are multicast and broadcast,
    which no caller may have us flood."""
    try:
        address = ip_address(host)
    except ValueError:
        raise NotAcceptable(f"connection address {host[:64]!r} is not numeric") from None
    if address.is_multicast or host == "255.255.255.255":
        raise NotAcceptable(f"connection address {host} is not unicast")
    return host, address.is_unspecified


def _stated_direction(theirs: Description, media: Media) -> Direction:
    """That of the media line, else of the session, else sendrecv (RFC 8866 §6.7)."""
    for attributes in (media.attributes, theirs.attributes):
        for name, _ in attributes:
            if name in _DIRECTIONS:
                return Direction(name)
    return Direction.SENDRECV


def _our_direction(theirs: Direction, ours: Direction, silent: bool) -> Direction:
    """Mirror theirs, and do no more than we are willing to. silent: their address of 0.0.0.0 takes nothing."""
    we_send = theirs in (Direction.SENDRECV, Direction.RECVONLY) and not silent
    we_receive = theirs in (Direction.SENDRECV, Direction.SENDONLY)
    we_send = we_send and ours in (Direction.SENDRECV, Direction.SENDONLY)
    we_receive = we_receive and ours in (Direction.SENDRECV, Direction.RECVONLY)
    if we_send:
        return Direction.SENDRECV if we_receive else Direction.SENDONLY
    return Direction.RECVONLY if we_receive else Direction.INACTIVE


def _ptime(media: Media, default: int) -> int:
    """The nearest of 20, 30 and 40 ms to what they ask for, not above their maxptime when that is possible."""
    wanted = _milliseconds(media.attribute("ptime")) or default
    longest = _milliseconds(media.attribute("maxptime")) or max(PTIMES)
    allowed = [p for p in PTIMES if p <= longest] or [PTIMES[0]]
    return min(allowed, key=lambda p: (abs(p - wanted), p))


def _milliseconds(value: str | None) -> float | None:
    """Some phones write `20.0`. None for what is no such number."""
    if not value:
        return None
    whole, _, _ = value.strip().partition(".")
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 6 else None


def _rtcp_port(media: Media, local: LocalMedia) -> int:
    """0: the usual port + 1. RFC 3605 may name another; rtcp-mux (RFC 5761) makes it the RTP port."""
    if local.rtcp_mux and media.attribute("rtcp-mux") is not None:
        return media.port
    port, _, _ = (media.attribute("rtcp") or "").partition(" ")
    if port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65_535:
        return int(port) if int(port) != media.port else 0
    return 0
