"""RTCP round trip and A.1/A.3/A.8 statistics."""

from hypothesis import given
from hypothesis import strategies as st

from engine.rtp import dtmf, rtcp
from engine.rtp.jitter import Reception

word = st.integers(0, 0xFFFFFFFF)
blocks = st.builds(
    rtcp.ReportBlock, word, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), word, word, word, word
)
senders = st.builds(rtcp.SenderInfo, st.integers(0, 2**64 - 1), word, word, word)
reports = st.builds(rtcp.Report, word, st.none() | senders, st.lists(blocks, max_size=31).map(tuple))


@given(reports)
def test_round_trip(report: rtcp.Report) -> None:
    assert rtcp.parse(rtcp.encode(report, b"c" * 16)) == report


@given(reports, st.data())
def test_cut_or_noisy_reports_are_none(report: rtcp.Report, data: st.DataObject) -> None:
    whole = rtcp.encode(report, b"c" * 16)
    cut = data.draw(st.integers(0, len(whole) - 1))
    got = rtcp.parse(whole[:cut])
    assert got is None or cut == len(whole) - 28, "only without its whole SDES is it still a compound packet"
    rtcp.parse(data.draw(st.binary(max_size=80)))


def test_loss_is_clamped_to_24_bits() -> None:
    block = rtcp.ReportBlock(1, 0, 2**30, 0, 0, 0, 0)
    parsed = rtcp.parse(rtcp.encode(rtcp.Report(1, None, (block,)), b"c" * 16))
    assert parsed is not None
    assert parsed.blocks[0].lost == 0x7FFFFF


def test_fraction_lost() -> None:
    assert rtcp.fraction_lost(100, 75, (0, 0)) == 64
    assert rtcp.fraction_lost(100, 110, (0, 0)) == 0
    assert rtcp.fraction_lost(50, 50, (50, 50)) == 0
    assert rtcp.fraction_lost(200, 100, (100, 100)) == 255


def test_loss_over_the_wrap_of_sequence_numbers() -> None:
    seen = Reception(65530)
    for n in range(65530, 65550):
        if n % 5:
            seen.packet(n & 0xFFFF)
    assert (seen.expected, seen.lost, seen.extended_highest) == (20, 4, 65549)


def test_duplicates_make_loss_negative() -> None:
    seen = Reception(1)
    for n in (1, 1, 2, 2):
        seen.packet(n)
    assert seen.lost == -2


def test_jump_is_believed_at_its_second_packet() -> None:
    seen = Reception(1)
    for n in (1, 2, 40000, 3, 40000, 40001, 40002):
        seen.packet(n)
    assert (seen.expected, seen.lost) == (2, 0)


def test_jitter_of_an_even_and_an_uneven_stream() -> None:
    even, uneven = Reception(0), Reception(0)
    for n in range(200):
        even.arrival(n * 160, 7 + n * 160)
        uneven.arrival(n * 160, n * 160 + (n % 2) * 80)
    assert even.jitter == 0
    assert 70 < uneven.jitter >> 4 <= 80
    assert uneven.jitter_max >= uneven.jitter


def test_telephone_event_octets() -> None:
    """RFC 4733 §2.3.1: E bit, volume, duration."""
    event = dtmf.TelephoneEvent(11, True, 10, 1200)
    assert dtmf.encode(event) == b"\x0b\x8a\x04\xb0"
    assert dtmf.parse(b"\x0b\x8a\x04\xb0more") == event
    assert dtmf.parse(b"\x0b\x8a\x04") is None
