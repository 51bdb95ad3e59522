"""Who may send to a port: latching, SSRC, malformed packets. Nobody else is ever answered."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.media.plane import Direction, Dtmf, PortClosed, PortStats, RtpTimeout, SrtpSuite
from engine.rtp.packet import Packet, encode
from tests.unit.media.rig import Phone, Rig, keys

WORDS = bytes(range(160))


def stats(rig: Rig, phone: Phone) -> PortStats:
    rig.plane.close(phone.port)
    (stats,) = [e.stats for e in rig.events() if isinstance(e, PortClosed) and e.port == phone.port]
    return stats


def test_nat_is_learnt_from_three_packets_in_sequence(rig: Rig) -> None:
    """The signalled address is private; the real one shows in the first packets."""
    phone, other = rig.phone(connect=False), rig.phone()
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9"))
    rig.plane.bridge(phone.port, other.port)
    rig.talk(5, a=(phone, WORDS), b=(other, WORDS))
    assert len(other.received()) == 3
    assert len(phone.received()) >= 2
    assert stats(rig, phone).strangers == 2


def test_no_latching_when_forbidden(rig: Rig) -> None:
    phone, other = rig.phone(connect=False), rig.phone()
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9", latch=False))
    rig.plane.bridge(phone.port, other.port)
    rig.talk(5, a=(phone, WORDS), b=(other, WORDS))
    assert other.received() == []
    assert phone.received() == []


def test_stranger_never_takes_over_a_peer_that_talks(rig: Rig) -> None:
    """Neither by its own SSRC nor by that of the peer, and it never gets a packet."""
    phone, other, stranger = rig.phone(), rig.phone(), rig.stranger()
    rig.plane.bridge(phone.port, other.port)
    stranger.target = phone.target
    rig.talk(1, a=(phone, WORDS))
    other.received()
    for ssrc in (stranger.ssrc, phone.ssrc):
        stranger.ssrc = ssrc
        rig.talk(10, evil=(stranger, b"\0" * 160), b=(other, WORDS))
        stranger.key(1, 160)
    rig.advance(20)
    assert stranger.received() == []
    assert other.received() == []
    assert not [event for event in rig.events() if isinstance(event, Dtmf)]
    assert stats(rig, phone).strangers == 22


def test_stranger_cannot_latch_late(rig: Rig) -> None:
    """The window is the first ten seconds: a silent peer is not replaced after that."""
    phone, stranger = rig.phone(), rig.stranger()
    stranger.target = phone.target
    rig.advance(10_020, every=20)
    rig.talk(10, evil=(stranger, WORDS))
    rig.play(phone, [rig.clip("a.wav", np.zeros(800, np.int16))])
    rig.advance(140)
    assert stranger.received() == []
    assert len(phone.received()) == 5


def test_two_rivals_first_come(rig: Rig) -> None:
    """While one candidate proves itself another cannot push it aside; packets out of sequence prove nothing."""
    phone, other, rival = rig.phone(connect=False), rig.phone(), rig.stranger()
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9"))
    rig.plane.bridge(phone.port, other.port)
    rival.target = phone.target
    rig.talk(6, a=(phone, WORDS), evil=(rival, b"\0" * 160))
    assert {one.payload for one in other.received()} == {WORDS}


def test_scattered_packets_do_not_latch(rig: Rig) -> None:
    phone, stranger = rig.phone(), rig.stranger()
    stranger.target = phone.target
    for _ in range(20):
        stranger.send(WORDS)
        stranger.skip()
        rig.advance(20)
    rig.play(phone, [rig.clip("a.wav", np.zeros(800, np.int16))])
    rig.advance(140)
    assert stranger.received() == []


def test_nobody_latches_while_the_peer_holds(rig: Rig) -> None:
    """Old-style hold (c=0.0.0.0) gives no address; whoever sends then is not the peer."""
    phone, stranger = rig.phone(), rig.stranger()
    rig.talk(2, a=(phone, WORDS))
    stranger.target = phone.target
    rig.plane.connect(phone.port, phone.remote(host="0.0.0.0", direction=Direction.SENDONLY))
    rig.play(phone, [rig.clip("a.wav", np.zeros(8000, np.int16))], loop=True)
    rig.talk(10, evil=(stranger, WORDS))
    assert stranger.received() == []
    rig.plane.connect(phone.port, phone.remote())
    rig.advance(100)
    assert len(phone.received()) == 5


def test_nat_is_learnt_after_a_call_that_begins_on_hold(rig: Rig) -> None:
    phone = rig.phone(connect=False)
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9", direction=Direction.INACTIVE))
    rig.talk(10, a=(phone, WORDS))
    rig.advance(11_000, every=20)
    rig.plane.connect(phone.port, phone.remote(host="127.9.9.9"))
    rig.talk(4, a=(phone, WORDS))
    rig.play(phone, [rig.clip("a.wav", np.zeros(800, np.int16))])
    rig.advance(140)
    assert len(phone.received()) == 5


def test_reinvite_to_the_same_address_keeps_what_was_learnt(rig: Rig) -> None:
    phone, other = rig.phone(connect=False), rig.phone()
    remote = phone.remote(host="127.9.9.9")
    rig.plane.connect(phone.port, remote)
    rig.plane.bridge(phone.port, other.port)
    rig.talk(4, a=(phone, WORDS))
    rig.plane.connect(phone.port, remote)
    other.received()
    rig.talk(3, a=(phone, WORDS), b=(other, WORDS))
    assert len(other.received()) == 3
    assert len(phone.received()) == 3


def test_reinvite_to_a_new_address_follows(rig: Rig) -> None:
    phone, moved, other = rig.phone(), rig.stranger(), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.talk(2, a=(phone, WORDS))
    moved.target = phone.target
    rig.plane.connect(phone.port, moved.remote())
    rig.talk(3, a=(moved, WORDS), b=(other, WORDS))
    assert len(moved.received()) == 3
    assert len(other.received()) == 5


def test_other_ssrc_of_the_same_address_waits_for_silence(rig: Rig) -> None:
    phone, other = rig.phone(), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.advance(3000)
    rig.talk(3, a=(phone, WORDS))
    sequence, ssrc = phone.sequence, phone.ssrc
    phone.ssrc, phone.sequence = 0x5555, 9000
    phone.send(b"\1" * 160)
    phone.send(b"\1" * 160)
    phone.ssrc, phone.sequence = ssrc, sequence
    rig.talk(3, a=(phone, WORDS))
    assert {one.payload for one in other.received()} == {WORDS}
    phone.ssrc, phone.sequence = 0x5555, 9002
    rig.talk(8, a=(phone, b"\2" * 160))
    got = other.received()
    assert {one.payload for one in got} == {b"\2" * 160}
    assert len(got) >= 5
    assert stats(rig, phone).packets_lost == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=10), st.data())
def test_no_datagram_harms(rig: Rig, noise: list[bytes], data: st.DataObject) -> None:
    """From the peer itself, on both sockets: dropped or taken, never more; the next packet passes."""
    phone, other = rig.phone(), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    rig.talk(1, a=(phone, WORDS))
    whole = encode(Packet(data.draw(st.integers(0, 127)), phone.sequence, phone.timestamp, phone.ssrc, WORDS[:40]))
    for one in noise:
        at = data.draw(st.integers(0, len(whole)))
        for damaged in (one, whole[:at] + one, bytes([whole[0] ^ 0x30]) + whole[1:at] + one):
            phone.raw(damaged)
            phone.rtcp.sendto(damaged, (phone.target[0], phone.target[1] + 1))
    rig.advance(20)
    other.received()
    phone.skip(20)
    rig.plane.connect(phone.port, phone.remote())
    rig.talk(3, a=(phone, WORDS))
    assert WORDS in [one.payload for one in other.received()]
    for leg in (phone, other):
        rig.plane.close(leg.port)
        leg.rtp.close()
        leg.rtcp.close()
    rig.events()


def test_oversized_datagram_is_dropped(rig: Rig) -> None:
    phone, other = rig.phone(), rig.phone()
    rig.plane.bridge(phone.port, other.port)
    phone.send(bytes(4000))
    rig.talk(1, a=(phone, WORDS))
    assert [len(one.payload) for one in other.received()] == [160]


COOKIE = bytes.fromhex("2112a442")
BINDING = b"\x00\x01\x00\x08" + COOKIE + bytes(range(12)) + b"\x80\x22\x00\x04test"
"""A binding request with a SOFTWARE attribute (RFC 5389 §6)."""


@pytest.mark.parametrize("secured", [False, True])
def test_stun_is_counted_apart_and_changes_nothing(rig: Rig, secured: bool) -> None:
    """From the peer or from anybody, at both ports: no stranger, not unauthenticated, no sign of life, no answer."""
    srtp = keys(SrtpSuite.AES_CM_128_HMAC_SHA1_80) if secured else None
    phone, stranger = rig.phone(srtp=srtp, rtp_timeout=1.0), rig.stranger()
    stranger.target = phone.target
    rig.talk(3, a=(phone, WORDS))
    for _ in range(5):
        phone.naked(BINDING)
        stranger.naked(BINDING)
        phone.rtcp.sendto(BINDING, (phone.target[0], phone.target[1] + 1))
    rig.step()
    assert [e.silent_for for e in rig.events() if isinstance(e, RtpTimeout)] == []
    rig.advance(1500, every=20)
    assert len([e for e in rig.events() if isinstance(e, RtpTimeout)]) == 1
    assert stranger.received() == []
    assert rig.core.health()["stun"] == 15
    found = stats(rig, phone)
    assert (found.stun, found.strangers, found.unauthenticated, found.packets_received) == (15, 0, 0, 3)


@pytest.mark.parametrize(
    "like",
    [
        BINDING[:19],
        BINDING + b"x",
        BINDING[:4] + b"\x21\x12\xa4\x43" + BINDING[8:],
        b"\x40" + BINDING[1:],
        b"\x00\x01\xff\xff" + BINDING[4:],
    ],
)
def test_what_only_looks_like_stun_is_not(rig: Rig, like: bytes) -> None:
    phone = rig.phone()
    phone.naked(like)
    rig.step()
    assert rig.core.health()["packets_dropped"] == 1
    assert stats(rig, phone).stun == 0
