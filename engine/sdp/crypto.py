"""SRTP keys in SDP: a=crypto (RFC 4568, suites also of RFC 7714). Whoever can read the description has the keys: it
belongs on TLS. One master key an attribute; lifetimes are ignored (2^48 packets last 178 million years at 50 a second)
and an MKI is refused, both as §6.1 allows."""

import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from engine.media.plane import Srtp, SrtpSuite
from engine.sdp.describe import Attribute, Media

PREFERENCE: Final = (
    SrtpSuite.AEAD_AES_128_GCM,
    SrtpSuite.AES_CM_128_HMAC_SHA1_80,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32,
)
"""In the order in which we offer them."""
_SUITES: Final = {suite.value: suite for suite in SrtpSuite}
SECURE_PROTOCOLS: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})


class SrtpPolicy(StrEnum):
    """Of one leg, for offers of either side."""

    FORBIDDEN = "forbidden"
    """Plain RTP only: RTP/SAVP is refused, a=crypto ignored."""
    OPTIONAL = "optional"
    """SRTP when the peer offers or takes it. We offer RTP/AVP with a=crypto, which a peer without SRTP reads past."""
    REQUIRED = "required"
    """RTP/SAVP offered; a description without usable a=crypto is refused (488)."""


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """A master key and salt, of the suite's length."""

    suite: SrtpSuite
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Crypto:
    """One a=crypto attribute that we can use. tag: 1 to 9 digits, as they wrote it."""

    tag: str
    key: SrtpKey

    def attribute(self) -> Attribute:
        inline = binascii.b2a_base64(self.key.key, newline=False).decode()
        return ("crypto", f"{self.tag} {self.key.suite} inline:{inline}")


def offered(keys: Iterable[SrtpKey]) -> list[Attribute]:
    """Attributes of an offer, first the one that we like best: tags count from 1."""
    return [Crypto(str(tag), key).attribute() for tag, key in enumerate(keys, 1)]


def choose(media: Media, keys: Iterable[SrtpKey]) -> tuple[Crypto, Crypto] | None:
    """(theirs, ours) of the first attribute of an offer that we can use (§5.1.2); None when there is none."""
    ours = {key.suite: key for key in keys}
    for theirs in _cryptos(media):
        if (key := ours.get(theirs.key.suite)) is not None:
            return theirs, Crypto(theirs.tag, key)
    return None


def answered(media: Media, keys: Iterable[SrtpKey]) -> tuple[Crypto, Crypto] | None:
    """(theirs, ours) of the answer to `offered(keys)`: exactly one attribute, with tag and suite of one of ours
    (§5.1.3); None otherwise."""
    cryptos = _cryptos(media)
    ours = {str(tag): key for tag, key in enumerate(keys, 1)}
    if len(cryptos) != 1 or len([name for name, _ in media.attributes if name == "crypto"]) != 1:
        return None
    key = ours.get(cryptos[0].tag)
    return None if key is None or key.suite is not cryptos[0].key.suite else (cryptos[0], Crypto(cryptos[0].tag, key))


def srtp(pair: tuple[Crypto, Crypto] | None) -> Srtp | None:
    """For the media plane."""
    if pair is None:
        return None
    theirs, ours = pair
    return Srtp(suite=ours.key.suite, local_key=ours.key.key, remote_key=theirs.key.key)


def _cryptos(media: Media) -> list[Crypto]:
    found = (_crypto(value) for name, value in media.attributes if name == "crypto" and value)
    return [crypto for crypto in found if crypto is not None]


def _crypto(value: str) -> Crypto | None:
    """§9.1. None for what is malformed, or has a suite or parameter that we do not know: it is read past (§6.3.7)."""
    tag, suite, *rest = [*value.split(), "", ""]
    key_params, session_params = rest[0], [param for param in rest[1:] if param]
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 9) or suite not in _SUITES:
        return None
    if any(not param.startswith(("-", "WSH=")) for param in session_params):
        return None  # UNENCRYPTED_SRTP and its like would change what both sides do
    key = _inline(key_params, _SUITES[suite])
    return None if key is None else Crypto(tag, SrtpKey(_SUITES[suite], key))


def _inline(key_params: str, suite: SrtpSuite) -> bytes | None:
    """inline:<key>[|<lifetime>]. None for several keys, for an MKI, and for a key of another length."""
    method, _, info = key_params.partition(":")
    text, *more = info.split("|")
    if method.lower() != "inline" or ";" in info or any(":" in one for one in more):
        return None
    try:
        key = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:  # also characters that are not ASCII
        return None
    return key if len(key) == suite.key_octets else None
