"""Audits of captured audio: each finds what it is there for, and nothing where all is well."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.faults import heard
from bench.faults.heard import Capture
from bench.faults.tones import FRAME, PER_SECOND, TAG, decode, encode, frames, frequency, read_tags, tag

T0 = 1_700_000_000.0
ANNA, BO, EVE = 0, 1, 2


def payloads(talker: int, numbers: range | list[int]) -> NDArray[np.uint8]:
    tone = frames(talker)
    spoken = [tag(talker, n) + tone[n % PER_SECOND][TAG:] for n in numbers]
    return np.frombuffer(b"".join(spoken), np.uint8).reshape(-1, FRAME)


def conversation(numbers: list[int], talker: int = ANNA, listener: int = BO, said: int = 100) -> Capture:
    """The talker says `said` packets from T0; those of `numbers` arrive 1 ms later."""
    every, arrived = np.arange(said), T0 + np.array(numbers) * 0.02 + 0.001
    return heard.capture(
        (np.full(len(numbers), listener, np.int32), arrived.astype(np.float64), payloads(talker, numbers)),
        (np.full(said, talker, np.int32), every.astype(np.int64), (T0 + every * 0.02).astype(np.float64)),
    )


def without(*gone: int, said: int = 100) -> list[int]:
    return [n for n in range(said) if n not in gone]


def test_mu_law_is_that_of_g711() -> None:
    """Both ends of the range, both zeros, and each code word comes back to itself."""
    assert decode(np.array([0x00, 0x80, 0xFF, 0x7F], np.uint8)).tolist() == [-32124, 32124, 0, 0]
    codes = np.array([code for code in range(256) if code != 0x7F], np.uint8)  # 0x7F is the other zero
    assert encode(decode(codes)).tolist() == codes.tolist()


def test_a_tag_is_read_back_and_nearly_silent() -> None:
    talker, number = read_tags(payloads(EVE, [0, 7, 70_000]))
    assert talker.tolist() == [EVE] * 3
    assert number.tolist() == [0, 7, 70_000]
    assert np.abs(decode(np.frombuffer(tag(0xFFFF, 0), np.uint8))).max() <= 132


def test_music_and_silence_carry_no_tag() -> None:
    wave = encode((np.sin(np.arange(FRAME * 50) / 7) * 9000).astype(np.int16)).reshape(-1, FRAME)
    silence = np.full((3, FRAME), 0xFF, np.uint8)
    assert set(read_tags(np.concatenate([wave, silence]))[0].tolist()) == {-1}


def test_tones_of_neighbours_differ() -> None:
    assert len({frequency(talker) for talker in range(70)}) == 70


def test_nothing_is_wrong_with_a_whole_conversation() -> None:
    captured = conversation(without())
    assert heard.lost(captured, ANNA, BO, T0, T0 + 2.0) == []
    assert heard.silence_ms(captured, BO, T0, T0 + 2.0) == 0.0
    assert heard.gap_ms(captured, BO, T0, T0 + 2.0) < 2.0
    assert heard.strangers(captured, BO, {ANNA}, T0, T0 + 2.0) == set()


def test_one_lost_packet_is_found() -> None:
    assert heard.lost(conversation(without(41)), ANNA, BO, T0, T0 + 2.0) == [41]


def test_a_packet_said_before_the_span_is_not_missed() -> None:
    assert heard.lost(conversation(without(1)), ANNA, BO, T0 + 0.5, T0 + 2.0) == []


def test_a_packet_that_another_far_end_got_is_lost() -> None:
    captured = conversation(without(), listener=EVE)
    assert len(heard.lost(captured, ANNA, BO, T0, T0 + 2.0)) == 100
    assert heard.strangers(captured, EVE, {BO}, T0, T0 + 2.0) == {ANNA}


@pytest.mark.parametrize(("gone", "silence"), [((), 0.0), (range(20, 25), 100.0), (range(10, 60), 1000.0)])
def test_silence_is_counted_in_windows(gone: range, silence: float) -> None:
    captured = conversation(without(*gone))
    assert heard.silence_ms(captured, BO, T0, T0 + 2.0) == pytest.approx(silence)


def test_loudness_is_that_of_the_tone() -> None:
    """0.3 of full scale: 0.3 * 32767 / sqrt(2), a tenth of it under tags."""
    loud = heard.rms(conversation(without()), BO, T0, T0 + 2.0)
    assert len(loud) == 20
    assert np.allclose(loud, 6950 * np.sqrt(0.9), rtol=0.1)


def test_silence_that_arrives_is_silence_too() -> None:
    quiet = np.full((100, FRAME), 0xFF, np.uint8)
    nobody = (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))
    captured = heard.capture(
        (np.full(100, BO, np.int32), (T0 + np.arange(100) * 0.02).astype(np.float64), quiet), nobody
    )
    assert heard.silence_ms(captured, BO, T0, T0 + 2.0) == pytest.approx(2000.0)
    assert heard.gap_ms(captured, BO, T0, T0 + 2.0) == pytest.approx(0.0, abs=0.1)


def test_the_gap_reaches_to_the_edges() -> None:
    captured = conversation(without(*range(50, 100)))
    assert heard.gap_ms(captured, BO, T0, T0 + 2.0) == pytest.approx(999.0, abs=2.0)


def test_the_first_sound_after_a_moment() -> None:
    captured = conversation(without(*range(10, 60)))
    assert heard.first_sound(captured, BO, T0 + 0.3) == pytest.approx(0.9)
    assert heard.first_sound(captured, BO, T0 + 3.0) is None


def mixed(*talkers: int, gone: range = range(0)) -> Capture:
    """EVE hears these for 2 s in one stream, as a conference has it; `gone`: packets in which the last is silent."""
    said = [decode(payloads(talker, list(range(100)))).astype(np.int32) for talker in talkers]
    said[-1][list(gone)] = 0
    stream = encode(np.clip(sum(said), -32124, 32124).astype(np.int16))
    arrived = (T0 + np.arange(100) * 0.02 + 0.001).astype(np.float64)
    nobody = np.zeros(0)
    return heard.capture(
        (np.full(100, EVE, np.int32), arrived, stream), (nobody.astype(np.int32), nobody.astype(np.int64), nobody)
    )


def test_each_voice_of_a_conference_is_told_from_the_others() -> None:
    captured = mixed(ANNA, BO)
    assert heard.absent_ms(captured, ANNA, EVE, T0, T0 + 2.0) == 0.0
    assert heard.absent_ms(captured, BO, EVE, T0, T0 + 2.0) == 0.0
    assert heard.absent_ms(mixed(ANNA), BO, EVE, T0, T0 + 2.0) == 2000.0


def test_a_voice_that_falls_silent_among_others_is_missed_for_that_long() -> None:
    captured = mixed(ANNA, BO, gone=range(20, 40))
    assert heard.absent_ms(captured, ANNA, EVE, T0, T0 + 2.0) == 0.0
    assert heard.absent_ms(captured, BO, EVE, T0, T0 + 2.0) == 400.0
