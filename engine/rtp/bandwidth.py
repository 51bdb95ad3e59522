"""How many octets a second of audio costs on its way: payload, RTP, SRTP, UDP, IP, Ethernet, and RTCP beside it."""

from typing import Final, NamedTuple

PAYLOAD: Final = {"PCMU": 64_000, "PCMA": 64_000}
"""Bits a second of the codec alone."""
RTP_HEADER: Final = 12
UDP_HEADER: Final = 8
IP_HEADER: Final = {False: 20, True: 40}
"""By IPv6."""
SRTP_TAG: Final = {"none": 0, "sha1_80": 10, "sha1_32": 4, "gcm": 16}
"""RFC 3711 §5.2, RFC 6188; AEAD: RFC 7714 §14."""
SRTCP_EXTRA: Final = {"none": 0, "sha1_80": 14, "sha1_32": 14, "gcm": 20}
"""Index, and the tag, which SRTCP never shortens to 32 bits (RFC 4568 §6.2.2)."""
ETHERNET: Final = 38
"""Preamble 8, header 14, checksum 4, gap 12: what a frame takes of a link."""
SMALLEST_FRAME: Final = 84
"""With all of that, for a packet of 46 octets or fewer."""
RTCP_PACKET: Final = 80
"""Ours: sender report with one block (52) and SDES with a CNAME (28)."""
RTCP_EVERY: Final = 5.0
"""Seconds."""


class Path(NamedTuple):
    """What packets are wrapped in."""

    srtp: str = "none"
    ipv6: bool = False

    def ip(self, datagram: int) -> int:
        """Octets of the IP packet that carries so many octets over UDP."""
        return datagram + UDP_HEADER + IP_HEADER[self.ipv6]

    def wire(self, datagram: int) -> int:
        """Octets that it takes of an Ethernet link."""
        return max(SMALLEST_FRAME, self.ip(datagram) + ETHERNET)


class Stream(NamedTuple):
    """One direction of one leg, RTP and our RTCP."""

    packets: float
    """A second."""
    datagram: int
    """Octets of an RTP packet above UDP."""
    ip_bits: float
    """A second, IP packets with all they hold: what operators sell."""
    wire_bits: float
    """A second, of an Ethernet link."""


def stream(codec: str, ptime_ms: int, path: Path) -> Stream:
    """Raises KeyError for a codec or SRTP suite that is not in the tables above."""
    packets = 1000 / ptime_ms
    datagram = RTP_HEADER + PAYLOAD[codec] * ptime_ms // 8000 + SRTP_TAG[path.srtp]
    report = RTCP_PACKET + SRTCP_EXTRA[path.srtp]
    return Stream(
        packets,
        datagram,
        8 * (packets * path.ip(datagram) + path.ip(report) / RTCP_EVERY),
        8 * (packets * path.wire(datagram) + path.wire(report) / RTCP_EVERY),
    )
