"""Conferences: who hears whom, jitter, loss, and the ways in and out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.media.plane import Codec, Direction, Dtmf, PlaneError, PlayDone, PortId, SrtpSuite
from engine.rtp import g711
from engine.rtp.packet import Packet
from tests.support.tones import PHONES, presence, read_wav, tone
from tests.unit.media.conftest import MAKERS
from tests.unit.media.rig import Phone, Rig, keys

LEVELS = (988, 1980, 4092, 8316)
"""Linear values that µ-law has exactly; each speaker is one of them, so that a sum tells who is in it."""


def steady(level: int) -> bytes:
    return g711.encode_ulaw(np.full(160, level, np.int16))


def speech(phones: list[Phone]) -> dict[str, tuple[Phone, bytes]]:
    return {f"p{n}": (phone, steady(LEVELS[n])) for n, phone in enumerate(phones)}


def level(packet: Packet) -> int:
    """Of a packet that is one level throughout."""
    (value,) = set(g711.decode_ulaw(packet.payload).tolist())
    return int(value)


def near(level: int) -> int:
    """As µ-law carries it."""
    return int(g711.decode_ulaw(g711.encode_ulaw(np.array([level], np.int16)))[0])


def party(rig: Rig, phones: list[Phone], ears: dict[int, list[int]] | None = None) -> None:
    """ears: by place; None: all hear all others."""
    places = range(len(phones))
    hears = [
        [phones[j].port for j in (ears or {}).get(i, [] if ears else [j for j in places if j != i])] for i in places
    ]
    rig.plane.mix([phone.port for phone in phones], hears)
    rig.step()


def heard(phones: list[Phone]) -> list[int]:
    """The level that each heard at the end."""
    return [level(phone.received()[-1]) for phone in phones]


def test_three_hear_each_other_and_not_themselves(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(10, **speech(phones))
    a, b, c = LEVELS[:3]
    assert heard(phones) == [near(b + c), near(a + c), near(a + b)]


@pytest.mark.parametrize(
    ("ears", "result"),
    [
        ({0: [1], 1: [0], 2: [0, 1]}, [1, 0, (0, 1)]),
        ({0: [1], 1: [0, 2], 2: [0, 1]}, [1, (0, 2), (0, 1)]),
        ({0: [1, 2], 1: [0, 2], 2: [0, 1]}, [(1, 2), (0, 2), (0, 1)]),
        ({0: [1], 1: [0], 2: []}, [1, 0, ()]),
        ({0: [0], 1: [1], 2: [2]}, [(), (), ()]),
    ],
    ids=["listen", "whisper", "barge", "deaf", "never oneself"],
)
def test_ears(rig: Rig, ears: dict[int, list[int]], result: list[int | tuple[int, ...]]) -> None:
    """Caller 0, agent 1, supervisor 2."""
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones, ears)
    rig.talk(10, **speech(phones))
    expected = [sum(LEVELS[n] for n in ((one,) if isinstance(one, int) else one)) for one in result]
    assert heard(phones) == [near(one) for one in expected]


def test_change_of_ears_makes_no_gap(rig: Rig) -> None:
    """From listening to whispering to barging in: one stream, every 20 ms, no marker but the first."""
    phones = [rig.phone() for _ in range(3)]
    for ears in ({0: [1], 1: [0], 2: [0, 1]}, {0: [1], 1: [0, 2], 2: [0, 1]}, None):
        party(rig, phones, ears)
        rig.talk(10, **speech(phones))
    for phone in phones:
        got = phone.received()
        assert len(got) == 30
        assert [(y.sequence - x.sequence, y.timestamp - x.timestamp) for x, y in pairwise(got)] == [(1, 160)] * 29
        assert [one.marker for one in got] == [True] + [False] * 29
        assert all(level(one) for one in got[3:]), "nobody fell silent"


def test_talk_of_two_becomes_a_conference_and_a_talk_again(rig: Rig) -> None:
    """Relayed untouched before and after; for a phone it is one source throughout."""
    phones = [rig.phone() for _ in range(3)]
    a, b, _ = phones
    words = bytes(range(160))
    rig.plane.bridge(a.port, b.port)
    rig.talk(3, a=(a, words))
    party(rig, phones)
    rig.talk(5, a=(a, steady(LEVELS[0])))
    rig.plane.bridge(a.port, b.port)
    rig.talk(3, a=(a, words))
    got = b.received()
    assert [one.payload for one in got if one.payload == words] == [words] * 6
    assert len({one.ssrc for one in got}) == 1
    assert [(y.sequence - x.sequence) & 0xFFFF for x, y in pairwise(got)] == [1] * (len(got) - 1)
    assert all(y.timestamp - x.timestamp >= 160 for x, y in pairwise(got))


@pytest.mark.parametrize("how", ["unbridge", "close", "mix"])
def test_one_leaves_and_the_others_go_on(rig: Rig, how: str) -> None:
    phones = [rig.phone() for _ in range(4)]
    party(rig, phones)
    rig.talk(10, **speech(phones))
    if how == "mix":
        party(rig, phones[1:])
    elif how == "unbridge":
        rig.plane.unbridge(phones[0].port)
    else:
        rig.plane.close(phones[0].port)
    rig.talk(10, **speech(phones))
    b, c, d = LEVELS[1:]
    assert heard(phones[1:]) == [near(c + d), near(b + d), near(b + c)]
    left = [level(one) for one in phones[0].received()]
    assert len(left) == (20 if how == "mix" else 10)
    assert how != "mix" or left[-1] == 0, "alone in the old one: silence"


def test_one_joins(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones[:2])
    rig.talk(5, **speech(phones))
    party(rig, phones)
    rig.talk(10, **speech(phones))
    assert heard(phones)[0] == near(LEVELS[1] + LEVELS[2])
    rig.talk(1, **speech(phones))
    got = phones[0].received()
    assert [one.marker for one in got] == [False]


def test_sum_is_cut_off_not_wrapped(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    loud = steady(30000)
    rig.talk(10, a=(phones[0], loud), b=(phones[1], loud), c=(phones[2], loud))
    assert heard(phones) == [32124] * 3


def test_alaw_and_srtp_members(rig: Rig) -> None:
    phones = [
        rig.phone(),
        rig.phone(codec=Codec.PCMA, payload_type=8),
        rig.phone(srtp=keys(SrtpSuite.AEAD_AES_128_GCM)),
    ]
    party(rig, phones)
    for _ in range(10):
        phones[0].send(steady(LEVELS[0]))
        phones[1].send(g711.encode_alaw(np.full(160, 2016, np.int16)), payload_type=8)
        phones[2].send(steady(LEVELS[2]))
        rig.advance(20)
    one, two, three = (phone.received()[-1] for phone in phones)
    assert level(one) == near(2016 + LEVELS[2])
    assert two.payload_type == 8
    assert two.payload == g711.encode_alaw(np.full(160, LEVELS[0] + LEVELS[2], np.int16))
    assert level(three) == near(LEVELS[0] + 2016)


def test_lost_frames_are_the_last_one_fading(rig: Rig) -> None:
    a, b, _ = phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, a=(a, steady(8000)))
    a.skip(4)
    rig.advance(80)
    rig.talk(6, a=(a, steady(8000)))
    full = near(8000)
    got = [level(one) for one in b.received()]
    start = got.index(full)
    assert got[start : start + 6] == [full] * 6
    assert got[start + 6 : start + 10] == [near(full * 192 >> 8), near(full * 96 >> 8), 0, 0]
    assert set(got[start + 10 :]) == {full}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MAKERS)), st.lists(st.integers(0, 40), min_size=30, max_size=30))
def test_forty_milliseconds_of_jitter_harm_nothing(
    tmp_path_factory: pytest.TempPathFactory, name: str, delays: list[int]
) -> None:
    """The first packet waits two frames; what is later than it by no more than those is heard in its place."""
    rig = Rig(MAKERS[name](8), tmp_path_factory.mktemp("jitter"))
    a, b, c = phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    levels = [near(500 + 200 * n) for n in range(30)]
    sent = sorted((20 * n + (delay if n else 0), n) for n, delay in enumerate(delays))
    for ms in range(30 * 20 + 100):
        while sent and sent[0][0] <= ms:
            _, n = sent.pop(0)
            a.sequence, a.timestamp = 100 + n, 5000 + 160 * n
            a.send(steady(levels[n]))
        rig.advance(1, every=1)
    got = [one for one in map(level, b.received()) if one]
    rig.close()
    assert got[:30] == levels
    assert c.port != PortId(0)


def test_packets_of_other_lengths(rig: Rig) -> None:
    """10, 30 and 40 ms a packet."""
    a, b, _ = phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    for ms in (10, 30, 40):
        for _ in range(240 // ms):
            a.send(g711.encode_ulaw(np.full(ms * 8, 4092, np.int16)))
            a.timestamp = (a.timestamp + ms * 8 - 160) & 0xFFFFFFFF
            rig.advance(ms)
    got = [level(one) for one in b.received()]
    assert set(got[got.index(4092) :]) == {4092}


@pytest.mark.parametrize("jump", [5_000, -5_000, 1 << 31])
def test_a_clock_that_jumps_is_followed(rig: Rig, jump: int) -> None:
    a, b, _ = phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, a=(a, steady(8316)))
    a.timestamp = (a.timestamp + jump) & 0xFFFFFFFF
    rig.talk(12, a=(a, steady(8316)))
    assert [level(one) for one in b.received()][-4:] == [8316] * 4


def test_another_source_is_followed(rig: Rig) -> None:
    a, b, _ = phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, a=(a, steady(8316)))
    a.ssrc, a.timestamp = 77, 9
    rig.talk(12, a=(a, steady(4092)))
    assert [level(one) for one in b.received()][-4:] == [4092] * 4


def test_a_member_that_plays_hears_its_clip(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, **speech(phones))
    phones[0].received()
    rig.play(phones[0], [rig.clip("a.wav", np.full(800, 124, np.int16))])
    rig.talk(10, **speech(phones))
    got = phones[0].received()
    assert [level(one) for one in got].count(near(124)) == 5
    assert level(got[-1]) == near(LEVELS[1] + LEVELS[2])
    assert [one.marker for one in got].count(True) == 2
    assert [e for e in rig.events() if isinstance(e, PlayDone)]


def test_a_member_on_hold_gets_nothing_and_says_nothing(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, **speech(phones))
    rig.plane.connect(phones[0].port, phones[0].remote(direction=Direction.INACTIVE))
    rig.step()
    phones[0].received()
    rig.talk(10, **speech(phones))
    assert phones[0].received() == []
    assert heard(phones[1:]) == [LEVELS[2], LEVELS[1]]
    rig.plane.connect(phones[0].port, phones[0].remote())
    rig.talk(10, **speech(phones))
    assert heard(phones)[0] == near(LEVELS[1] + LEVELS[2])


def test_keys_are_told_and_not_passed_on(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    phones[0].key(5, 160)
    rig.advance(60)
    assert [(e.port, e.digit) for e in rig.events() if isinstance(e, Dtmf)] == [(phones[0].port, "5")]
    assert {one.payload_type for one in phones[1].received()} == {0}


def test_recording_of_two_goes_on_when_a_third_joins(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    rig.plane.bridge(phones[0].port, phones[1].port)
    rig.plane.record(phones[0].port, phones[1].port, "a.wav")
    rig.talk(5, **speech(phones))
    party(rig, phones)
    rig.talk(5, **speech(phones))
    rig.plane.stop_recording(phones[0].port)
    rig.events()
    frames = np.frombuffer((rig.recordings / "a.wav").read_bytes()[44:], "<i2").reshape(-1, 2)
    assert np.count_nonzero(frames == LEVELS[:2]) >= 2 * 9 * 160


def test_each_voice_of_a_conference_is_in_the_recording_on_its_side(rig: Rig) -> None:
    phones = [rig.phone(), rig.phone(codec=Codec.PCMA, payload_type=8), rig.phone()]
    party(rig, phones)
    rig.plane.record(phones[0].port, phones[1].port, "a.wav", [phones[2].port])
    tones = PHONES[:3]
    said = [tone(hz, 1.0).reshape(-1, 160) for hz in tones]
    for frames in zip(*said, strict=True):
        for phone, frame in zip(phones, frames, strict=True):
            alaw = phone is phones[1]
            phone.send((g711.encode_alaw if alaw else g711.encode_ulaw)(frame), payload_type=8 if alaw else 0)
        rig.advance(20)
    rig.plane.stop_recording(phones[0].port)
    rig.events()
    pcm = read_wav(rig.recordings / "a.wav")[1]
    there = [[presence([hz], side) > 0.7 for hz in tones] for side in pcm.T]
    assert there == [[True, False, False], [False, True, True]]


def test_whom_nobody_hears_is_not_recorded_either(rig: Rig) -> None:
    """One who holds his line: his phone's music would be louder than who talks."""
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.plane.record(phones[0].port, phones[1].port, "a.wav", [phones[2].port])
    rig.talk(10, **speech(phones))
    party(rig, phones, {0: [1], 1: [0], 2: []})
    rig.talk(10, **speech(phones))
    party(rig, phones)
    rig.talk(10, **speech(phones))
    rig.plane.unbridge(phones[2].port)
    rig.talk(10, **speech(phones))
    rig.plane.stop_recording(phones[0].port)
    rig.events()
    pcm = read_wav(rig.recordings / "a.wav")[1]
    a, b, c = LEVELS[:3]
    said = [set(map(tuple, pcm[at : at + 1200].tolist())) for at in (0, 1600, 3200, 4800)]
    assert said == [{(a, b + c)}, {(a, b)}, {(a, b + c)}, {(a, b + c)}]


def test_a_long_stall_is_not_sent_later(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    party(rig, phones)
    rig.talk(6, **speech(phones))
    for phone in phones:
        phone.received()
    rig.now += 3_000_000_000
    rig.step()
    assert all(len(phone.received()) <= 11 for phone in phones)


def test_what_no_conference_can_be(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(3)]
    a, b, _ = (phone.port for phone in phones)
    for ports, hears in (
        ([a, a], [[], []]),
        ([a, b], [[]]),
        ([a], [[b]]),
        ([PortId(n) for n in range(17)], [[]] * 17),
    ):
        with pytest.raises(PlaneError):
            rig.plane.mix(ports, hears)


def test_stale_ports_are_left_out(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(4)]
    rig.plane.close(phones[3].port)
    party(rig, phones)
    rig.talk(10, **speech(phones[:3]))
    a, b, c = LEVELS[:3]
    assert heard(phones[:3]) == [near(b + c), near(a + c), near(a + b)]


def test_conferences_are_used_again(rig: Rig) -> None:
    phones = [rig.phone() for _ in range(4)]
    for _ in range(100):
        party(rig, phones)
        rig.step()
    party(rig, phones[:2])
    party(rig, phones[2:])
    rig.talk(10, **speech(phones))
    assert heard(phones) == [LEVELS[1], LEVELS[0], LEVELS[3], LEVELS[2]]
