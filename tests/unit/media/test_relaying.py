"""Bridged ports: what passes, under which header, and what does not."""

from itertools import pairwise

import numpy as np
import pytest

from engine.media.plane import Codec, Direction
from engine.rtp import g711
from tests.unit.media.rig import FRAME, Rig

WORDS = bytes(range(160))


def test_payload_passes_untouched_both_ways(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.talk(5, a=(a, WORDS), b=(b, WORDS[::-1]))
    assert [one.payload for one in b.received()] == [WORDS] * 5
    assert [one.payload for one in a.received()] == [WORDS[::-1]] * 5


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_ssrc_and_sequence_over_prompt_bridge_and_prompt(rig: Rig, host: str) -> None:
    """A phone must see one source, whatever we mix its stream from (RFC 3550 §5.1)."""
    a, b = rig.phone(host=host), rig.phone(host=host)
    clip = rig.clip("a.wav", np.arange(800, dtype=np.int16))
    rig.play(b, [clip])
    rig.advance(140)
    rig.plane.bridge(a.port, b.port)
    rig.talk(3, a=(a, WORDS))
    rig.plane.unbridge(a.port)
    rig.play(b, [clip])
    rig.advance(140)
    got = b.received()
    assert len({one.ssrc for one in got}) == 1
    assert got[0].ssrc != a.ssrc
    assert [(y.sequence - x.sequence) & 0xFFFF for x, y in pairwise(got)] == [1] * 12
    assert all(y.timestamp - x.timestamp >= FRAME for x, y in pairwise(got))
    assert [one.marker for one in got] == [True] + [False] * 4 + [True, False, False] + [True] + [False] * 4


def test_loss_and_order_of_the_network_stay_visible(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.talk(2, a=(a, WORDS))
    a.skip(3)
    rig.talk(2, a=(a, WORDS))
    got = b.received()
    assert [one.sequence - got[0].sequence for one in got] == [0, 1, 5, 6]
    assert [one.timestamp - got[0].timestamp for one in got] == [0, 160, 800, 960]


def test_transcoding_by_table_and_its_limits(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone(codec=Codec.PCMA, payload_type=8)
    rig.plane.bridge(a.port, b.port)
    a.send(WORDS)
    b.send(WORDS, payload_type=8)
    rig.advance(20)
    (to_b,), (to_a,) = b.received(), a.received()
    assert (to_b.payload_type, to_b.payload) == (8, WORDS.translate(g711.ulaw_to_alaw()))
    assert (to_a.payload_type, to_a.payload) == (0, WORDS.translate(g711.alaw_to_ulaw()))


def test_peer_may_use_the_other_static_codec(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    a.send(WORDS, payload_type=8)
    a.send(WORDS, payload_type=97)
    rig.advance(20)
    assert [(one.payload_type, one.payload) for one in b.received()] == [(0, WORDS.translate(g711.alaw_to_ulaw()))]


def test_telephone_event_gets_the_payload_type_of_the_other_side(rig: Rig) -> None:
    a, b = rig.phone(dtmf_type=101), rig.phone(dtmf_type=96)
    silent = rig.phone(dtmf_type=None)
    rig.plane.bridge(a.port, b.port)
    a.key(5, 160)
    a.key(5, 320, end=True)
    rig.advance(20)
    assert [(one.payload_type, one.payload) for one in b.received()] == [(96, b"\5\x0a\0\xa0"), (96, b"\5\x8a\1\x40")]
    rig.plane.bridge(a.port, silent.port)
    a.skip()
    a.key(6, 160)
    rig.advance(20)
    assert silent.received() == []
    assert b.received() == [], "bridging anew parts the old partner"


@pytest.mark.parametrize(
    ("direction", "hears", "heard"),
    [
        (Direction.SENDRECV, 1, 1),
        (Direction.SENDONLY, 1, 0),
        (Direction.RECVONLY, 0, 1),
        (Direction.INACTIVE, 0, 0),
    ],
)
def test_direction_of_each_side_permits(rig: Rig, direction: Direction, hears: int, heard: int) -> None:
    a, b = rig.phone(), rig.phone(direction=direction)
    rig.plane.bridge(a.port, b.port)
    rig.talk(1, a=(a, WORDS), b=(b, WORDS))
    assert (len(b.received()), len(a.received())) == (hears, heard)


def test_playing_port_hears_the_clip_and_is_still_heard(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.play(b, [rig.clip("music.wav", np.zeros(1600, np.int16))], loop=True)
    rig.talk(5, a=(a, WORDS), b=(b, WORDS))
    assert len(a.received()) == 5
    assert {one.payload for one in b.received()} == {b"\xff" * 160}
    rig.plane.stop(b.port)
    rig.talk(1, a=(a, WORDS))
    assert b.received()[-1].payload == WORDS


def test_unbridge_and_close_part_both(rig: Rig) -> None:
    a, b, c = rig.phone(), rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.plane.unbridge(b.port)
    rig.talk(1, a=(a, WORDS), b=(b, WORDS))
    assert a.received() + b.received() == []
    rig.plane.bridge(a.port, c.port)
    rig.plane.close(c.port)
    rig.talk(1, a=(a, WORDS))
    rig.plane.bridge(a.port, b.port)
    rig.talk(1, a=(a, WORDS))
    assert len(b.received()) == 1


def test_bridge_with_itself_or_a_stale_port_is_nothing(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, a.port)
    rig.plane.close(b.port)
    rig.plane.bridge(a.port, b.port)
    rig.talk(1, a=(a, WORDS))
    assert a.received() == []


def test_header_extension_csrc_and_padding_are_taken_off(rig: Rig) -> None:
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    head = b"\0\0\0\1" + b"\0\0\0\2" + a.ssrc.to_bytes(4, "big")
    a.raw(bytes([0xB1, 0]) + head[2:] + b"CSRC" + b"\xbe\xde\0\1ABCD" + WORDS + b"\0\0\3")
    rig.advance(20)
    assert [one.payload for one in b.received()] == [WORDS]


def test_a_hold_is_no_loss(rig: Rig) -> None:
    """What was not sent because the listener held is not missing when he listens again."""
    a, b = rig.phone(), rig.phone()
    rig.plane.bridge(a.port, b.port)
    rig.talk(3, a=(a, WORDS))
    rig.plane.connect(b.port, b.remote(direction=Direction.RECVONLY))
    rig.talk(5, a=(a, WORDS))
    rig.plane.connect(b.port, b.remote())
    rig.talk(3, a=(a, WORDS))
    got = b.received()
    assert [(y.sequence - x.sequence) & 0xFFFF for x, y in pairwise(got)] == [1] * 5
    assert got[3].timestamp - got[2].timestamp > FRAME
    assert got[3].marker
