"""Clips: what leaves, when it ends, and what cuts it short."""

import os
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.media.plane import Codec, Direction, Dtmf, PlaneError, PlayDone, PlayId
from engine.rtp import g711
from tests.unit.media.rig import Rig, tone_wav


def ramp(length: int, start: int = 0) -> NDArray[np.int16]:
    """Samples that differ from place to place."""
    return ((np.arange(start, start + length) * 37) % 20000 - 10000).astype(np.int16)


@pytest.mark.parametrize(("ptime_ms", "size"), [(20, 160), (30, 240), (40, 320)])
@pytest.mark.parametrize(("codec", "kind"), [(Codec.PCMU, 0), (Codec.PCMA, 8)])
def test_clip_leaves_as_one_even_stream(rig: Rig, codec: Codec, kind: int, ptime_ms: int, size: int) -> None:
    """RFC 3551: timestamps follow samples, the first packet has the marker, the last is filled up with silence."""
    phone = rig.phone(codec=codec, payload_type=kind, ptime_ms=ptime_ms)
    samples = ramp(1000)
    play = rig.play(phone, [rig.clip("a.wav", samples)])
    rig.advance(300)
    got = phone.received()
    encode, silence = (g711.encode_ulaw, b"\xff") if codec == Codec.PCMU else (g711.encode_alaw, b"\xd5")
    assert b"".join(one.payload for one in got) == encode(samples).ljust(-(-1000 // size) * size, silence)
    assert [one.marker for one in got] == [True] + [False] * (len(got) - 1)
    assert {one.payload_type for one in got} == {kind}
    assert len({one.ssrc for one in got}) == 1
    steps = {(b.sequence - a.sequence, b.timestamp - a.timestamp) for a, b in pairwise(got)}
    assert steps == {(1, size)}
    assert rig.events() == [PlayDone(phone.port, play, True, 0.125)]


def test_packets_leave_every_20_ms(rig: Rig) -> None:
    phone = rig.phone()
    rig.play(phone, [rig.clip("a.wav", ramp(1600))])
    counts = []
    for _ in range(12):
        rig.advance(20, every=1)
        counts.append(len(phone.received()))
    assert counts == [1] * 10 + [0] * 2


def test_late_tick_sends_what_is_due_and_a_stall_is_skipped(rig: Rig) -> None:
    phone = rig.phone()
    rig.play(phone, [rig.clip("a.wav", ramp(16000))])
    rig.advance(100)
    phone.received()
    rig.advance(100, every=100)
    assert len(phone.received()) == 5
    rig.advance(1000, every=1000)
    got = phone.received()
    assert len(got) < 15, "only the newest 200 ms are caught up"
    rig.advance(40)
    assert len(phone.received()) == 2


def test_clips_follow_without_a_gap_and_loop(rig: Rig) -> None:
    phone = rig.phone()
    first, second = ramp(250), ramp(330, 9000)
    names = [rig.clip("a.wav", first), rig.clip("b.wav", second)]
    play = rig.play(phone, names, loop=True)
    rig.advance(200)
    heard = b"".join(one.payload for one in phone.received())
    both = g711.encode_ulaw(np.concatenate([first, second]))
    assert len(heard) >= 9 * 160
    assert (both * 4).startswith(heard)
    rig.plane.stop(phone.port)
    assert [type(event) for event in rig.events()] == [PlayDone]
    rig.advance(100)
    assert phone.received() == []
    assert play == 1


def test_a_later_play_replaces_and_close_ends_it(rig: Rig) -> None:
    phone = rig.phone()
    clip = rig.clip("a.wav", ramp(8000))
    first = rig.play(phone, [clip])
    rig.advance(100)
    second = rig.play(phone, [clip])
    assert [(e.play, e.finished, e.seconds) for e in rig.events() if isinstance(e, PlayDone)] == [(first, False, 0.1)]
    rig.plane.close(phone.port)
    told = rig.events()
    assert [type(event).__name__ for event in told] == ["PlayDone", "PortClosed"]
    assert isinstance(told[0], PlayDone)
    assert (told[0].play, told[0].finished) == (second, False)


def test_key_ends_a_play_with_barge_in_only(rig: Rig) -> None:
    phone = rig.phone()
    clip = rig.clip("a.wav", ramp(8000))
    rig.play(phone, [clip])
    phone.key(5, 160)
    rig.advance(40)
    assert rig.events() == [Dtmf(phone.port, "5", "rfc4733")]
    play = rig.play(phone, [clip], barge_in=True)
    phone.skip()
    phone.key(6, 160)
    rig.step()
    phone.received()
    rig.advance(100)
    assert phone.received() == []
    told = rig.events()
    assert isinstance(told.pop(0), PlayDone), "of the play that the second replaced"
    assert told == [Dtmf(phone.port, "6", "rfc4733"), PlayDone(phone.port, play, False, 0.0)]


def test_hold_plays_on_in_silence(rig: Rig) -> None:
    """A recvonly or inactive far end gets nothing, and the clip ends in its own time."""
    phone = rig.phone(direction=Direction.RECVONLY)
    play = rig.play(phone, [rig.clip("a.wav", ramp(1600))])
    rig.advance(240)
    assert phone.received() == []
    assert rig.events() == [PlayDone(phone.port, play, True, 0.2)]


def test_codec_change_by_reinvite_in_the_middle(rig: Rig) -> None:
    phone = rig.phone()
    rig.play(phone, [rig.clip("a.wav", ramp(1600))])
    rig.advance(100)
    before = phone.received()
    rig.plane.connect(phone.port, phone.remote(codec=Codec.PCMA, payload_type=8))
    rig.advance(140)
    after = phone.received()
    assert len(before) + len(after) == 10
    assert {one.payload_type for one in after} == {8}
    assert after[0].payload == g711.encode_alaw(ramp(1600))[len(before) * 160 :][:160]


@pytest.mark.parametrize("broken", ["missing", "text", "stereo", "rate"])
def test_wrong_clip_is_named_and_the_play_is_done(rig: Rig, broken: str) -> None:
    phone = rig.phone()
    path = rig.folder / "wrong.wav"
    content = {
        "text": b"hello",
        "stereo": tone_wav(ramp(16), channels=2),
        "rate": tone_wav(ramp(16), rate=44100),
    }
    if broken in content:
        path.write_bytes(content[broken])
    with pytest.raises(PlaneError, match=r"wrong\.wav"):
        rig.plane.load([str(path)])
    with pytest.raises(PlaneError, match=r"wrong\.wav"):
        rig.play(phone, [str(path)])
    assert rig.events() == [PlayDone(phone.port, PlayId(1), False, 0.0)]


def test_changed_clip_is_loaded_anew(rig: Rig) -> None:
    clip = rig.clip("a.wav", ramp(800))
    assert rig.plane.load([clip]) == {clip: 0.1}
    rig.clip("a.wav", ramp(1600))
    os.utime(clip, (1, 1))
    assert rig.plane.load([clip]) == {clip: 0.2}


def test_empty_and_endless_nothing(rig: Rig) -> None:
    """A loop over no samples is done at once, not for ever."""
    phone = rig.phone()
    play = rig.play(phone, [rig.clip("a.wav", ramp(0))], loop=True)
    assert rig.events() == [PlayDone(phone.port, play, True, 0.0)]


def test_short_loop(rig: Rig) -> None:
    phone = rig.phone()
    rig.play(phone, [rig.clip("a.wav", ramp(7))], loop=True)
    rig.advance(60)
    heard = b"".join(one.payload for one in phone.received())
    assert len(heard) >= 2 * 160
    assert (g711.encode_ulaw(ramp(7)) * 200).startswith(heard)
