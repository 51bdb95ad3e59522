"""Ports from open to close: addresses, generations, time-outs, RTCP, statistics."""

import gc
import os
import socket
import struct

import numpy as np
import pytest

from engine.media.core import Core
from engine.media.plane import Direction, PlaneError, PlayDone, PlayId, PortClosed, PortStats, RtpTimeout
from engine.rtp import rtcp
from tests.unit.media.conftest import MAKERS
from tests.unit.media.rig import PORTS, START, Phone, Rig

WORDS = bytes(range(160))


def descriptors() -> int:
    gc.collect()  # cores of other tests
    return len(os.listdir("/proc/self/fd"))


def closed(rig: Rig) -> list[PortStats]:
    return [event.stats for event in rig.events() if isinstance(event, PortClosed)]


def test_pair_is_even_and_odd(rig: Rig) -> None:
    numbers = [rig.phone().target[1] for _ in range(5)]
    assert all(number % 2 == 0 and 31000 <= number < 32000 for number in numbers)
    assert len(set(numbers)) == 5


def test_a_port_that_is_asked_for_is_given_if_it_is_free(rig: Rig) -> None:
    wanted = PORTS[144]
    assert rig.plane.open("127.0.0.1", rtp_port=wanted)[1] == wanted
    others = [rig.plane.open("127.0.0.1", rtp_port=number)[1] for number in (wanted, wanted + 1, 999)]
    assert len({wanted, *others}) == 4
    assert all(number % 2 == 0 and number in PORTS for number in others)


def test_close_frees_descriptors_at_once(rig: Rig) -> None:
    before = descriptors()
    ports = [rig.plane.open("127.0.0.1")[0] for _ in range(10)]
    rig.step()
    assert descriptors() == before + 20
    for port in ports:
        rig.plane.close(port)
    rig.step()
    assert descriptors() == before
    assert len(closed(rig)) == 10


def test_packets_are_marked_as_expedited(rig: Rig) -> None:
    """RFC 3246 / RFC 4594 §4.1: DSCP EF, for routers that give voice its own queue."""
    four, six = rig.phone(), rig.phone(host="::1")
    four.rtp.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    six.rtp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    for phone in (four, six):
        rig.plane.send_dtmf(phone.port, "1")
        rig.advance(100)
        ((_, _, value),) = phone.rtp.recvmsg(100, 64)[1]
        assert value[0] == 0xB8


def test_limit_of_ports_and_their_return(core: Core, rig: Rig) -> None:
    ports = [rig.plane.open("::1")[0] for _ in range(64)]
    before = descriptors()
    with pytest.raises(PlaneError, match="no free port"):
        rig.plane.open("127.0.0.1")
    assert descriptors() == before
    rig.plane.close(ports[0])
    rig.events()
    again, _ = rig.plane.open("127.0.0.1")
    assert again not in ports
    assert again & 0xFFFF == ports[0] & 0xFFFF


def test_stale_id_is_refused(rig: Rig) -> None:
    old = rig.phone()
    rig.plane.close(old.port)
    rig.events()
    new = rig.phone()
    assert new.port & 0xFFFF == old.port & 0xFFFF
    assert rig.play(old, []) == 1
    rig.plane.close(old.port)
    rig.plane.connect(old.port, old.remote())
    rig.plane.stop(old.port)
    rig.plane.send_dtmf(old.port, "1")
    rig.advance(100)
    assert rig.events() == [PlayDone(old.port, PlayId(1), False, 0.0)]
    assert new.received() == []
    assert list(rig.plane.ports()) == [new.port]


@pytest.mark.parametrize("host", ["nowhere.example", "192.0.2.1", "", "127.0.0.1:5060"])
def test_host_that_is_not_ours(rig: Rig, host: str) -> None:
    with pytest.raises(PlaneError):
        rig.plane.open(host)


@pytest.mark.parametrize("seconds", [-1.0, 1e9, float("nan")])
def test_impossible_timeout(rig: Rig, seconds: float) -> None:
    with pytest.raises(PlaneError, match="rtp_timeout"):
        rig.plane.open("127.0.0.1", rtp_timeout=seconds)


def test_taken_ports_are_passed_over(tmp_path_factory: pytest.TempPathFactory, core: Core) -> None:
    first = Rig(core, tmp_path_factory.mktemp("a"), range(32000, 32006))
    second = Rig(MAKERS["native"](8), tmp_path_factory.mktemp("b"), range(32000, 32006))
    taken = [first.plane.open("127.0.0.1")[1] for _ in range(2)]
    assert second.plane.open("127.0.0.1")[1] == ({32000, 32002, 32004} - set(taken)).pop()
    with pytest.raises(PlaneError, match="no free RTP port"):
        second.plane.open("127.0.0.1")
    first.close()
    second.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "224.0.0.1", "255.255.255.255", "phone.example", ""])
def test_nothing_is_sent_to_no_unicast_address(rig: Rig, host: str) -> None:
    phone = rig.phone(connect=False)
    rig.plane.connect(phone.port, phone.remote(host=host))
    rig.play(phone, [])
    rig.plane.send_dtmf(phone.port, "1")
    rig.advance(6000)
    rig.plane.close(phone.port)
    assert [stats.packets_sent for stats in closed(rig)] == [0]


def test_impossible_remote_is_refused(rig: Rig) -> None:
    phone = rig.phone()
    for change in ({"payload_type": 128}, {"dtmf_type": -1}, {"port": 70000}, {"rtcp_port": -1}):
        with pytest.raises(PlaneError, match="impossible"):
            rig.plane.connect(phone.port, phone.remote(**change))


def test_rtp_timeout_once_for_each_silence(rig: Rig) -> None:
    phone = rig.phone(rtp_timeout=1.0)
    rig.talk(10, a=(phone, WORDS))
    assert rig.events() == []
    rig.advance(3000)
    (event,) = rig.events()
    assert isinstance(event, RtpTimeout)
    assert 1.0 < event.silent_for <= 1.02
    rig.talk(2, a=(phone, WORDS))
    rig.advance(1500)
    assert [type(event) for event in rig.events()] == [RtpTimeout]


def test_no_timeout_on_hold_nor_before_connect(rig: Rig) -> None:
    phone = rig.phone(rtp_timeout=0.5, connect=False)
    rig.advance(1000)
    for hold in (Direction.SENDONLY, Direction.RECVONLY, Direction.INACTIVE):
        rig.plane.connect(phone.port, phone.remote(direction=hold))
        rig.advance(1000)
    assert rig.events() == []
    rig.plane.connect(phone.port, phone.remote())
    rig.advance(400)
    assert rig.events() == []
    rig.advance(200)
    assert [type(event) for event in rig.events()] == [RtpTimeout]


def test_strangers_do_not_count_as_life(rig: Rig) -> None:
    phone, stranger = rig.phone(rtp_timeout=0.5), rig.stranger()
    stranger.target = phone.target
    rig.talk(1, a=(phone, WORDS))
    rig.talk(40, evil=(stranger, WORDS))
    assert [type(event) for event in rig.events()] == [RtpTimeout]


def test_statistics_of_a_port(rig: Rig) -> None:
    phone = rig.phone()
    rig.talk(5, a=(phone, WORDS))
    phone.skip(3)
    rig.talk(5, a=(phone, WORDS))
    rig.advance(40)
    rig.talk(1, a=(phone, WORDS))
    rig.plane.close(phone.port)
    (stats,) = closed(rig)
    assert (stats.packets_received, stats.packets_lost, stats.packets_sent, stats.remote_lost) == (11, 3, 0, -1)
    assert 1.0 < stats.jitter_ms <= stats.jitter_max_ms < 10


def ask(phone: Phone, report: rtcp.Report) -> None:
    phone.rtcp.sendto(rtcp.encode(report, b"0" * 16), (phone.target[0], phone.target[1] + 1))


def test_sender_and_receiver_reports(rig: Rig) -> None:
    """About every five seconds; SR while we send; the peer's losses and delay as RFC 3550 §6.4.1 has them."""
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.talk(50, a=(a, WORDS))
    a.skip(50)
    ntp = 0x1122334455667788
    ask(a, rtcp.Report(a.ssrc, rtcp.SenderInfo(ntp, 0, 50, 8000), ()))
    rig.talk(400, a=(a, WORDS))
    to_a, to_b = a.reports(), b.reports()
    assert 1 <= len(to_a) <= 3
    assert to_a[0].sender is None, "nothing was sent to a"
    block = to_a[-1].blocks[0]
    assert (block.ssrc, block.lost, block.highest) == (a.ssrc, 50, block.highest)
    assert block.last_sr == 0x33445566
    assert 0 < block.delay_since_sr < 10 * 65536
    sender = to_b[-1].sender
    assert sender is not None
    assert sender.octets == sender.packets * 160
    assert abs((sender.ntp >> 32) - 2208988800 - (rig.now // 10**9)) <= 6
    assert to_b[-1].blocks == ()
    assert rig.now > START


def test_peer_reports_our_loss(rig: Rig) -> None:
    phone, stranger = rig.phone(), rig.stranger()
    rig.play(phone, [rig.clip("a.wav", np.zeros(1600, np.int16))])
    rig.advance(240)
    ours = phone.received()[0].ssrc
    rig.talk(2, a=(phone, WORDS))
    ask(phone, rtcp.Report(phone.ssrc, None, (rtcp.ReportBlock(ours, 25, 7, 0, 0, 0, 0),)))
    ask(phone, rtcp.Report(0x1234, None, (rtcp.ReportBlock(ours, 25, 99, 0, 0, 0, 0),)))
    ask(phone, rtcp.Report(phone.ssrc, None, (rtcp.ReportBlock(0x777, 25, 99, 0, 0, 0, 0),)))
    good = rtcp.encode(rtcp.Report(phone.ssrc, None, (rtcp.ReportBlock(ours, 0, 55, 0, 0, 0, 0),)), b"1" * 16)
    cut = struct.pack("!BBH", 0x9F, 201, 7) + good[4:]
    for bad in (good[:-1], good[:20], b"", good + b"\0", cut):
        phone.rtcp.sendto(bad, (phone.target[0], phone.target[1] + 1))
    rig.advance(20)
    rig.plane.close(phone.port)
    assert [stats.remote_lost for stats in closed(rig)] == [7]
    assert stranger.reports() == []


def test_rtcp_mux(rig: Rig) -> None:
    phone = rig.phone(connect=False)
    number = phone.rtp.getsockname()[1]
    rig.plane.connect(phone.port, phone.remote(rtcp_port=number))
    rig.talk(10, a=(phone, WORDS))
    phone.raw(rtcp.encode(rtcp.Report(phone.ssrc, None, ()), b"2" * 16))
    rig.advance(7000)
    assert phone.reports() == []
    assert any(rtcp.parse(data) for data in iter_raw(phone))
    rig.plane.close(phone.port)
    assert [stats.packets_received for stats in closed(rig)] == [10]


def iter_raw(phone: Phone) -> list[bytes]:
    out = []
    while True:
        try:
            out.append(phone.rtp.recv(2048))
        except BlockingIOError:
            return out


def test_health_counts(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.plane.record(a.port, b.port, "x.wav")
    rig.talk(3, a=(a, WORDS))
    health = rig.plane.health()
    assert (health.ports, health.bridged, health.recording, health.playing) == (2, 1, 1, 0)
    assert (health.packets_received, health.packets_sent) == (3, 3)
    rig.plane.close_all()
    rig.events()
    health = rig.plane.health()
    assert (health.ports, health.bridged, health.recording) == (0, 0, 0)
