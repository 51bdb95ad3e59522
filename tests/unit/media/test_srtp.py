"""SRTP (RFC 3711, 7714): what is protected, what is refused, and that nothing unauthentic is ever believed."""

import gc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.media.plane import (
    Codec,
    Direction,
    Dtmf,
    PlaneError,
    PortClosed,
    PortStats,
    RtpTimeout,
    Srtp,
    SrtpSuite,
)
from engine.media.srtp import Keyed
from engine.rtp import g711, rtcp
from engine.rtp.packet import Packet, encode
from tests.unit.media.rig import Cipher, Phone, Rig, keys

WORDS = bytes(range(160))
SUITES = list(SrtpSuite)
TAG = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: 10,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: 4,
    SrtpSuite.AEAD_AES_128_GCM: 16,
}
CM, GCM = SrtpSuite.AES_CM_128_HMAC_SHA1_80, SrtpSuite.AEAD_AES_128_GCM


def stats(rig: Rig, phone: Phone) -> PortStats:
    rig.plane.close(phone.port)
    (stats,) = [e.stats for e in rig.events() if isinstance(e, PortClosed) and e.port == phone.port]
    return stats


def next_packet(phone: Phone, payload: bytes = WORDS) -> bytes:
    return encode(Packet(0, phone.sequence, phone.timestamp, phone.ssrc, payload))


@pytest.mark.parametrize("suite", SUITES)
def test_relay_between_srtp_and_rtp(rig: Rig, suite: SrtpSuite) -> None:
    """Each side in its own way; the wire shows a tag of the suite's length and none of the words."""
    phone, other = rig.phone(srtp=keys(suite)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.talk(3, a=(phone, WORDS), b=(other, WORDS[::-1]))
    assert [one.payload for one in other.received()] == [WORDS] * 3
    wire = phone.rtp.recv(2048)
    assert len(wire) == 12 + 160 + TAG[suite]
    assert WORDS[::-1][:16] not in wire
    assert [one.payload for one in phone.received()] == [WORDS[::-1]] * 2


@pytest.mark.parametrize("suite", SUITES)
def test_relay_between_two_suites_with_transcoding(rig: Rig, suite: SrtpSuite) -> None:
    phone, other = rig.phone(srtp=keys(suite, 1)), rig.phone(srtp=keys(CM, 2), codec=Codec.PCMA, payload_type=8)
    rig.plane.bridge(phone.port, other.port)
    rig.talk(3, a=(phone, WORDS))
    assert {(one.payload, one.payload_type) for one in other.received()} == {(WORDS.translate(g711.ulaw_to_alaw()), 8)}


VECTORS = {
    CM: (
        "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
        "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
    ),
    GCM: (
        "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
        "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
    ),
}
"""libsrtp's own reference packets (test/srtp_driver.c): 16 octets 0xab."""


@pytest.mark.parametrize("suite", VECTORS)
def test_known_packet(rig: Rig, suite: SrtpSuite) -> None:
    key, wire = (bytes.fromhex(text) for text in VECTORS[suite])
    phone, other = rig.phone(connect=False), rig.phone()
    phone.srtp = Srtp(suite=suite, local_key=bytes(suite.key_octets), remote_key=key)
    rig.plane.connect(phone.port, phone.remote(payload_type=15))
    rig.plane.bridge(phone.port, other.port)
    phone.naked(wire)
    rig.advance(20)
    assert [one.payload for one in other.received()] == [b"\xab" * 16]


def test_recording_hears_the_words(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(GCM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.plane.record(phone.port, other.port, "a.wav")
    rig.talk(5, a=(phone, WORDS))
    rig.plane.stop_recording(phone.port)
    rig.events()
    frames = np.frombuffer((rig.recordings / "a.wav").read_bytes()[44:], "<i2").reshape(-1, 2)
    expected = g711.decode_ulaw(WORDS)
    left = frames[:, 0].tobytes()
    assert left.count(expected.tobytes()) >= 4


def test_clips_and_keys_leave_protected(rig: Rig) -> None:
    phone = rig.phone(srtp=keys(CM))
    rig.play(phone, [rig.clip("a.wav", np.full(480, 1000, np.int16))])
    rig.advance(100)
    played = phone.received()
    rig.plane.send_dtmf(phone.port, "5", 60)
    rig.advance(200)
    pressed = phone.received()
    assert [one.payload_type for one in played] == [0] * 3
    assert {one.payload_type for one in pressed} == {101}
    assert {one.payload[0] for one in pressed} == {5}
    assert all(one.sequence < 0x8100 for one in played), "begins in the lower half (RFC 3711 §3.3.1)"


def test_keys_come_deciphered(rig: Rig) -> None:
    phone = rig.phone(srtp=keys(CM))
    phone.key(7, 160)
    rig.advance(20)
    assert [event.digit for event in rig.events() if isinstance(event, Dtmf)] == ["7"]


@pytest.mark.parametrize("suite", SUITES)
def test_wrong_key_is_no_life(rig: Rig, suite: SrtpSuite) -> None:
    """Neither heard, nor relayed, nor a reason to believe that the peer is there."""
    phone, other = rig.phone(srtp=keys(suite), rtp_timeout=1.0), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    phone._cipher = Cipher(keys(suite, 99))
    rig.talk(60, a=(phone, WORDS))
    assert other.received() == []
    assert [event.port for event in rig.events() if isinstance(event, RtpTimeout)] == [phone.port]
    seen = stats(rig, phone)
    assert (seen.unauthenticated, seen.packets_received, seen.strangers) == (60, 0, 0)


def test_plain_rtp_and_rtcp_on_a_secured_port(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM), rtp_timeout=1.0), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    phone.secure(None)
    report = rtcp.encode(rtcp.Report(phone.ssrc, None, ()), b"0" * 16)
    for _ in range(60):
        phone.report(report)
        rig.talk(1, a=(phone, WORDS))
    assert other.received() == []
    assert [event.port for event in rig.events() if isinstance(event, RtpTimeout)] == [phone.port]
    assert stats(rig, phone).unauthenticated == 120


def test_replayed_packet_is_heard_once(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    sent = phone.raw(next_packet(phone))
    phone.skip()
    rig.talk(2, a=(phone, WORDS))
    for _ in range(3):
        phone.naked(sent)
    rig.advance(20)
    assert len(other.received()) == 3
    assert stats(rig, phone).unauthenticated == 3


def test_only_the_authentic_phone_latches(rig: Rig) -> None:
    """Behind NAT: a stranger, even with packets it overheard, gets nothing; the phone that has the key is found."""
    phone, other, stranger = rig.phone(connect=False), rig.phone(), rig.stranger()
    phone.secure(keys(CM))
    stranger.target = phone.target
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9"))
    rig.plane.bridge(phone.port, other.port)
    rig.talk(10, evil=(stranger, WORDS), b=(other, WORDS))
    assert stranger.received() == []
    rig.talk(5, a=(phone, WORDS), evil=(stranger, WORDS), b=(other, WORDS))
    assert len(other.received()) == 3
    assert len(phone.received()) >= 2
    assert stranger.received() == []
    seen = stats(rig, phone)
    assert seen.unauthenticated >= 12
    assert seen.packets_received == 3


def test_stranger_of_a_heard_phone_costs_no_deciphering(rig: Rig) -> None:
    phone, stranger = rig.phone(srtp=keys(CM)), rig.stranger()
    stranger.target = phone.target
    rig.talk(1, a=(phone, WORDS))
    rig.talk(10, evil=(stranger, WORDS))
    seen = stats(rig, phone)
    assert (seen.unauthenticated, seen.strangers) == (0, 10)


@pytest.mark.parametrize("suite", SUITES)
def test_srtcp_both_ways(rig: Rig, suite: SrtpSuite) -> None:
    phone = rig.phone(srtp=keys(suite))
    rig.play(phone, [rig.clip("a.wav", np.zeros(800, np.int16))], loop=True)
    rig.talk(300, a=(phone, WORDS))
    (report,) = phone.reports()
    assert report.sender is not None
    assert report.blocks[0].ssrc == phone.ssrc
    block = rtcp.ReportBlock(report.ssrc, 0, 42, 0, 0, 0, 0)
    phone.report(rtcp.encode(rtcp.Report(phone.ssrc, None, (block,)), b"0" * 16))
    rig.advance(20)
    assert stats(rig, phone).remote_lost == 42


def test_srtcp_on_the_rtp_port(rig: Rig) -> None:
    """RFC 5761: told apart before deciphering."""
    phone = rig.phone(connect=False)
    phone.secure(keys(CM))
    rig.plane.connect(phone.port, phone.remote(rtcp_port=phone.rtp.getsockname()[1]))
    rig.plane.send_dtmf(phone.port, "1")
    rig.talk(3, a=(phone, WORDS))
    block = rtcp.ReportBlock(phone.received()[0].ssrc, 0, 42, 0, 0, 0, 0)
    phone.report(rtcp.encode(rtcp.Report(phone.ssrc, None, (block,)), b"0" * 16), mux=True)
    rig.advance(20)
    seen = stats(rig, phone)
    assert (seen.unauthenticated, seen.packets_received, seen.remote_lost) == (0, 3, 42)


def test_reinvite_with_the_same_keys_goes_on(rig: Rig) -> None:
    """The roll-over counter goes on, and what came before stays known."""
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    phone.sequence = other.sequence = 65_530
    sent = phone.raw(next_packet(phone))
    phone.skip()
    rig.talk(20, a=(phone, WORDS), b=(other, WORDS))
    rig.plane.connect(phone.port, phone.remote(direction=Direction.SENDONLY))
    rig.plane.connect(phone.port, phone.remote())
    phone.naked(sent)
    rig.talk(20, a=(phone, WORDS), b=(other, WORDS))
    assert len(other.received()) == 41
    assert len(phone.received()) == 40
    assert stats(rig, phone).unauthenticated == 1


def test_reinvite_with_new_keys_refuses_the_old(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.talk(3, a=(phone, WORDS))
    old = phone.raw(next_packet(phone))
    rig.advance(20)
    phone.secure(keys(GCM, 5))
    rig.plane.connect(phone.port, phone.remote())
    phone.naked(old)
    rig.talk(3, a=(phone, WORDS), b=(other, WORDS))
    assert len(other.received()) == 7
    assert len(phone.received()) == 3
    assert stats(rig, phone).unauthenticated == 1


def test_reinvite_to_plain_rtp_and_back(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    for srtp in (None, keys(GCM, 3), None):
        rig.talk(2, a=(phone, WORDS), b=(other, WORDS))
        assert (len(phone.received()), len(other.received())) == (2, 2)
        phone.secure(srtp)
        rig.plane.connect(phone.port, phone.remote())
        rig.step()


def test_jumping_sequence_of_the_other_side_leaves_no_gap(rig: Rig) -> None:
    """A plain peer that begins anew anywhere: the secured one goes on hearing, in one sequence."""
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    for jump in (0, 30_000, -20_000, 33_000, -120):
        other.sequence = (other.sequence + jump) & 0xFFFF
        rig.talk(5, b=(other, WORDS))
    got = phone.received()
    assert len(got) == 25
    assert [(one.sequence - got[0].sequence) & 0xFFFF for one in got] == list(range(25))


def test_repeated_packet_of_the_other_side_is_not_sent_twice(rig: Rig) -> None:
    """Other words under one sequence number would be the same key stream used twice."""
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    other.send(WORDS)
    other.skip(-1)
    rig.talk(2, b=(other, WORDS[::-1]))
    assert [one.payload for one in phone.received()] == [WORDS, WORDS[::-1]]


def test_roll_over_of_what_we_send(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    for _ in range(60):
        rig.talk(1, b=(other, WORDS))
        other.skip(2500)
    assert len(phone.received()) == 60


def test_sources_of_one_key_are_bounded(rig: Rig) -> None:
    """Each SSRC costs memory, also of a peer that has the key."""
    phone = rig.phone(srtp=keys(CM))
    for ssrc in range(80):
        phone.ssrc = 0x1000 + ssrc
        phone.send(WORDS)
    rig.advance(20)
    assert stats(rig, phone).unauthenticated == 16


def test_oversized_packets(rig: Rig) -> None:
    phone, other = rig.phone(srtp=keys(CM)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    for size in (1480, 1500, 2030, 4000):
        phone.naked(bytes([0x80, 0]) + bytes(size))
        other.send(bytes(size))
    rig.talk(1, a=(phone, WORDS), b=(other, WORDS))
    assert [len(one.payload) for one in other.received()] == [160]
    assert [len(one.payload) for one in phone.received()] == [160]


def test_replaced_and_closed_sessions_are_freed(rig: Rig) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(one, Keyed) for one in gc.get_objects())

    before = alive()
    phone = rig.phone(srtp=keys(CM))
    for seed in range(50):
        phone.srtp = keys(CM, seed)
        rig.plane.connect(phone.port, phone.remote())
        rig.step()
        rig.plane.poll()
    assert alive() == before + 2
    rig.plane.close(phone.port)
    rig.events()
    assert alive() == before


def test_no_repr_shows_a_key(rig: Rig) -> None:
    phone = rig.phone(srtp=keys(CM))
    assert phone.srtp is not None
    remote = phone.remote()
    assert repr(remote).endswith("srtp=Srtp(AES_CM_128_HMAC_SHA1_80))")
    assert repr(phone.srtp) == str(phone.srtp) == f"{phone.srtp}"
    short = Srtp(suite=GCM, local_key=phone.srtp.local_key, remote_key=phone.srtp.remote_key)
    with pytest.raises(PlaneError, match="a key of AEAD_AES_128_GCM has 28 octets"):
        rig.plane.connect(phone.port, phone.remote(srtp=short))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(SUITES), st.data())
def test_no_change_of_a_packet_passes(rig: Rig, suite: SrtpSuite, data: st.DataObject) -> None:
    """One bit, a cut or a tail: not heard. The packet itself still is, afterwards."""
    phone, other = rig.phone(srtp=keys(suite)), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.talk(1, a=(phone, WORDS))
    other.received()
    wire = Cipher(keys(suite)).out.protect(next_packet(phone, WORDS[:20]))
    bit = data.draw(st.integers(0, 8 * len(wire) - 1))
    flipped = bytearray(wire)
    flipped[bit // 8] ^= 1 << bit % 8
    for changed in (bytes(flipped), wire[: data.draw(st.integers(0, len(wire) - 1))], wire + b"\0"):
        phone.naked(changed)
    rig.advance(20)
    assert other.received() == []
    phone.naked(wire)
    rig.advance(20)
    assert [one.payload for one in other.received()] == [WORDS[:20]]
    for leg in (phone, other):
        rig.plane.close(leg.port)
        leg.rtp.close()
        leg.rtcp.close()
    rig.events()
