"""G.711: the standard's own values, and what coding may not change."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.rtp import g711


def test_values_of_the_standard() -> None:
    """ITU-T G.711 tables 2a and 1a, scaled to 16 bit: code words of zero, the smallest steps and full scale."""
    ulaw, alaw = g711.ulaw_table(), g711.alaw_table()
    assert [int(ulaw[c]) for c in (0xFF, 0x7F, 0xFE, 0x7E, 0x80, 0x00)] == [0, 0, 8, -8, 32124, -32124]
    assert [int(alaw[c]) for c in (0xD5, 0x55, 0xD4, 0xAA, 0x2A)] == [8, -8, 24, 32256, -32256]


def test_silence_is_what_everybody_sends() -> None:
    assert g711.encode_ulaw(np.zeros(2, np.int16)) == bytes([g711.ULAW_SILENCE] * 2)
    assert g711.encode_alaw(np.array([1], np.int16)) == bytes([g711.ALAW_SILENCE])


def test_every_code_survives_decode_and_encode() -> None:
    codes = bytes(range(256))
    assert g711.encode_alaw(g711.decode_alaw(codes)) == codes
    again = g711.encode_ulaw(g711.decode_ulaw(codes))
    assert [a for a, b in zip(codes, again, strict=True) if a != b] == [0x7F], "the second code for 0"


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_coding_takes_the_nearest_level(values: list[int]) -> None:
    samples = np.array(values, np.int16)
    for encode, decode, table in (
        (g711.encode_ulaw, g711.decode_ulaw, g711.ulaw_table()),
        (g711.encode_alaw, g711.decode_alaw, g711.alaw_table()),
    ):
        error = abs(decode(encode(samples)).astype(int) - samples.astype(int))
        best = [min(abs(table.astype(int) - value)) for value in values]
        assert (error <= np.array(best, int) + 1).all()


def test_transcoding_there_and_back_stays_close() -> None:
    codes = bytes(range(256))
    there = codes.translate(g711.ulaw_to_alaw()).translate(g711.alaw_to_ulaw())
    before, after = g711.decode_ulaw(codes).astype(int), g711.decode_ulaw(there).astype(int)
    assert (abs(before - after) <= abs(before) // 16 + 8).all()


def test_empty_payload() -> None:
    assert g711.decode_ulaw(b"").shape == (0,)
