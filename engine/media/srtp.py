"""libsrtp for the media cores: sessions made here, packets done there (docs/adr/0007-srtp.md).

pylibsrtp brings the library with its wheel. Its Session makes, holds and frees a context; the native core gets the
context's address and those of four C functions, and calls them without Python. The reference core calls Session.
"""

from typing import NamedTuple

import pylibsrtp
from pylibsrtp import _binding

from engine.media.plane import Srtp, SrtpSuite

FUNCTIONS = ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp")
_PROFILES = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    SrtpSuite.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}


class Keyed:
    """One direction of one port. Frees its context with itself; no repr shows the key."""

    __slots__ = ("_key", "session")

    def __init__(self, suite: SrtpSuite, key: bytes, ssrc: int | None) -> None:
        """ssrc: of what we send; None: inbound, whatever SSRC comes. Raises pylibsrtp.Error."""
        outbound = ssrc is not None
        policy = pylibsrtp.Policy(
            key=key,
            ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC if outbound else pylibsrtp.Policy.SSRC_ANY_INBOUND,
            ssrc_value=ssrc or 0,
            srtp_profile=_PROFILES[suite],
        )
        self._key = (suite, key)
        self.session = pylibsrtp.Session(policy)

    def has(self, suite: SrtpSuite, key: bytes) -> bool:
        return self._key == (suite, key)

    @property
    def pointer(self) -> int:
        """srtp_t as a number."""
        return int(_binding.ffi.cast("uintptr_t", self.session._srtp[0]))


class Sessions(NamedTuple):
    inbound: Keyed
    outbound: Keyed


class Library:
    """functions: addresses, each of `int (*)(srtp_t, void *packet, int *length)`: 0 when it could be done."""

    def __init__(self) -> None:
        ffi, lib = _binding.ffi, _binding.lib
        self.functions = {name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in FUNCTIONS}

    def renew(self, before: Sessions | None, srtp: Srtp | None, ssrc: int) -> Sessions | None:
        """The sessions of a port that sends as `ssrc`. A direction with its old suite and key goes on as it is:
        its roll-over counter and replay list belong to the key (RFC 3711 §3.2.1)."""
        if srtp is None:
            return None
        inbound = before.inbound if before is not None and before.inbound.has(srtp.suite, srtp.remote_key) else None
        outbound = before.outbound if before is not None and before.outbound.has(srtp.suite, srtp.local_key) else None
        return Sessions(
            inbound or Keyed(srtp.suite, srtp.remote_key, None),
            outbound or Keyed(srtp.suite, srtp.local_key, ssrc),
        )
