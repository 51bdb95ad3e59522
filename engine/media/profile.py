"""What a peer is known to take, when it is not what the site offers to all."""

from typing import NamedTuple

from engine.media.plane import Codec
from engine.sdp.crypto import SrtpPolicy


class MediaProfile(NamedTuple):
    codecs: tuple[Codec, ...] | None = None
    """None: the site's."""
    dtmf: bool = True
    """Keys travel as RFC 4733 events; else in SIP INFO."""
    srtp: SrtpPolicy | None = None
    """None: the site's."""


USUAL = MediaProfile()
