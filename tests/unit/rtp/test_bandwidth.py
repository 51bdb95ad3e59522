"""Bits a second of a stream, counted by hand."""

import pytest

from engine.rtp.bandwidth import RTCP_EVERY, Path, stream


@pytest.mark.parametrize(
    ("ptime", "path", "ip", "wire"),
    [
        (20, Path(), 200, 238),
        (30, Path(), 280, 318),
        (10, Path(), 120, 158),
        (20, Path(ipv6=True), 220, 258),
        (20, Path(srtp="sha1_80"), 210, 248),
        (20, Path(srtp="sha1_32"), 204, 242),
        (20, Path(srtp="gcm", ipv6=True), 236, 274),
    ],
)
def test_octets_of_a_packet(ptime: int, path: Path, ip: int, wire: int) -> None:
    """160 of audio in 20 ms, RTP 12, UDP 8, IP 20 or 40, Ethernet 38; RTCP is 0.2 packets a second beside it."""
    found = stream("PCMA", ptime, path)
    assert found.packets == 1000 / ptime
    assert (path.ip(found.datagram), path.wire(found.datagram)) == (ip, wire)
    assert 0 < found.ip_bits - 8 * found.packets * ip < 8 * 200 / RTCP_EVERY
    assert 0 < found.wire_bits - 8 * found.packets * wire < 8 * 240 / RTCP_EVERY


def test_small_packets_take_a_whole_frame() -> None:
    assert Path().wire(1) == 84
