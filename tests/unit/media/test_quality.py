"""What RTCP tells of a leg's quality, and what the octets of live calls cost: both over both cores."""

import socket

import numpy as np
import pytest

from engine.media.plane import PortClosed, PortStats
from engine.rtp import rtcp
from engine.rtp.bandwidth import RTCP_PACKET, Path, stream
from tests.unit.media.rig import Phone, Rig

WORDS = b"\xd5" * 160


def stats(rig: Rig, phone: Phone) -> PortStats:
    rig.plane.close(phone.port)
    return next(event.stats for event in rig.events() if isinstance(event, PortClosed))


def talking(rig: Rig) -> tuple[Phone, int, rtcp.SenderInfo]:
    """A phone that has heard a sender report of ours: the phone, our SSRC, the report."""
    phone = rig.phone()
    rig.play(phone, [rig.clip("a.wav", np.zeros(160 * 1000, np.int16))])
    rig.talk(1, a=(phone, WORDS))
    rig.advance(12_000)
    report = phone.reports()[-1]
    assert report.sender is not None
    return phone, report.ssrc, report.sender


def tell(rig: Rig, phone: Phone, block: rtcp.ReportBlock) -> None:
    data = rtcp.encode(rtcp.Report(phone.ssrc, None, (block,)), b"1" * 16)
    phone.rtcp.sendto(data, (phone.host, phone.target[1] + 1))
    rig.step()


def middle(ntp: int) -> int:
    return ntp >> 16 & 0xFFFFFFFF


def ntp_now(rig: Rig) -> int:
    """By the plane's own clock."""
    return (rig.now // 10**9 + 2208988800) << 32 | ((rig.now % 10**9) << 32) // 10**9


def test_round_trip_is_arrival_less_report_less_delay(rig: Rig) -> None:
    """RFC 3550 §6.4.1: here 80 ms, whatever time the peer sat on our report."""
    phone, ours, sent = talking(rig)
    delay = middle(ntp_now(rig)) - middle(sent.ntp) + 65_536 // 2
    rig.advance(580)
    tell(rig, phone, rtcp.ReportBlock(ours, 0, 3, 0, 16, middle(sent.ntp), delay))
    found = stats(rig, phone)
    assert found.round_trip_ms == pytest.approx(80, abs=0.1)
    assert (found.remote_lost, found.remote_jitter_ms) == (3, 2.0)


def test_times_that_cannot_be_are_not_taken(rig: Rig) -> None:
    phone, ours, sent = talking(rig)
    for last, delay in ((0, 0), (middle(sent.ntp), 0x7FFFFFFF), (0x12345678, 0)):
        tell(rig, phone, rtcp.ReportBlock(ours, 0, 0, 0, 8, last, delay))
    found = stats(rig, phone)
    assert found.round_trip_ms == -1.0
    assert found.remote_jitter_ms == 1.0


def test_without_reports_nothing_is_known(rig: Rig) -> None:
    phone = rig.phone()
    rig.talk(3, a=(phone, WORDS))
    found = stats(rig, phone)
    assert (found.round_trip_ms, found.remote_jitter_ms, found.remote_lost) == (-1.0, -1.0, -1)


def octets(one: socket.socket) -> tuple[int, int]:
    """Datagrams and their octets that wait on a socket."""
    count = total = 0
    while True:
        try:
            total += len(one.recv(65536))
            count += 1
        except BlockingIOError:
            return count, total


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_calls_take_what_the_calculator_says(rig: Rig, host: str) -> None:
    """Octets that 5 live calls put on loopback sockets in 20 s, with the headers that a socket does not show."""
    phones = [rig.phone(host=host) for _ in range(5)]
    clip = rig.clip("a.wav", np.zeros(8000, np.int16))
    for phone in phones:
        rig.play(phone, [clip], loop=True)
    counted = packets = 0
    path = Path(ipv6=host == "::1")
    for _ in range(20):
        for phone in phones:
            phone.send(WORDS)
        rig.advance(1000)
        for phone in phones:
            for one in (phone.rtp, phone.rtcp):
                count, total = octets(one)
                packets += count
                counted += total + count * path.ip(0)
    said = stream("PCMU", 20, path)
    assert counted * 8 / 20 / 5 == pytest.approx(said.ip_bits, rel=0.005)
    assert packets / 20 / 5 == pytest.approx(said.packets + 0.2, rel=0.005)


def test_our_report_is_as_long_as_the_calculator_takes_it_to_be() -> None:
    info, block = rtcp.SenderInfo(0, 0, 0, 0), rtcp.ReportBlock(0, 0, 0, 0, 0, 0, 0)
    assert len(rtcp.encode(rtcp.Report(1, info, (block,)), b"1" * 16)) == RTCP_PACKET
