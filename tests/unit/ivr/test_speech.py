"""Spoken values: the words, and that every one of them has been recorded."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.hours import Calendar, parse_day
from ivr.prompts import PromptBook
from ivr.speech import digit_clips, number_clips, opening_clips, position_clips, vocabulary

BOOK = PromptBook.open(Path(__file__).parents[3] / "ivr_flows/prompts")


def words(clips: list[str]) -> str:
    return " ".join(clip.partition("/")[2] for clip in clips)


@pytest.mark.parametrize(
    ("number", "zh", "en"),
    [
        (0, "n0", "n0"),
        (2, "n2", "n2"),
        (37, "n37", "n37"),
        (60, "n60", "n60"),
        (61, "n60 n1", "n60 n1"),
        (99, "n90 n9", "n90 n9"),
        (100, "n1 hundred", "n1 hundred"),
        (105, "n1 hundred n0 n5", "n1 hundred n5"),
        (110, "n1 hundred n1 n10", "n1 hundred n10"),
        (215, "n2 hundred n1 n15", "n2 hundred n15"),
        (999, "n9 hundred n90 n9", "n9 hundred n90 n9"),
        (1000, "n1 thousand", "n1 thousand"),
        (1005, "n1 thousand n0 n5", "n1 thousand n5"),
        (1050, "n1 thousand n0 n50", "n1 thousand n50"),
        (2310, "liang thousand n3 hundred n1 n10", "n2 thousand n3 hundred n10"),
    ],
)
def test_numbers(number: int, zh: str, en: str) -> None:
    assert words(number_clips("zh", number)) == zh
    assert words(number_clips("en", number)) == en


def test_digits() -> None:
    assert digit_clips("zh", "+86 10x") == ["zh/n8", "zh/n6", "zh/n1", "zh/n0"]


@pytest.mark.parametrize(
    ("position", "wait", "zh", "en"),
    [
        (1, -1, "queue_next", "queue_next"),
        (3, -1, "queue_you_are n3 queue_place", "queue_you_are n3 queue_place"),
        (1, 20, "queue_next wait_under_one", "queue_next wait_under_one"),
        (
            2,
            60,
            "queue_you_are n2 queue_place wait_about n1 minutes",
            "queue_you_are n2 queue_place wait_about n1 minute",
        ),
        (1, 61, "queue_next wait_about liang minutes", "queue_next wait_about n2 minutes"),
        (1, 1800, "queue_next wait_about n30 minutes", "queue_next wait_about n30 minutes"),
        (1, 1801, "queue_next wait_long", "queue_next wait_long"),
        (1, float("inf"), "queue_next wait_long", "queue_next wait_long"),
    ],
)
def test_place_and_wait(position: int, wait: float, zh: str, en: str) -> None:
    assert words(position_clips("zh", position, wait)) == zh
    assert words(position_clips("en", position, wait)) == en


@settings(deadline=None)
@given(st.sampled_from(["zh", "en"]), st.integers(-5, 20_000), st.floats(allow_nan=False))
def test_every_announcement_is_recorded(language: str, position: int, wait: float) -> None:
    clips = position_clips(language, position, wait)
    assert clips
    assert all(BOOK.has(clip) for clip in clips)
    assert set(clips) <= set(vocabulary(language))


@settings(deadline=None)
@given(st.sampled_from(["zh", "en"]), st.integers(0, 9999))
def test_every_number_is_recorded(language: str, number: int) -> None:
    assert all(BOOK.has(clip) for clip in number_clips(language, number))


def calendar(*days: str) -> Calendar:
    return Calendar(ZoneInfo("Asia/Shanghai"), tuple(map(parse_day, days)))


OFFICE = calendar(*["09:00-12:00, 13:30-18:00"] * 5, "10:00-16:05", "closed")


def test_opening_hours_are_told_in_groups_of_days() -> None:
    assert words(opening_clips("zh", OFFICE)) == (
        "mon to fri n9 dian to n12 dian n13 dian ban to n18 dian sat n10 dian to n16 dian n0 n5 fen"
    )
    assert words(opening_clips("en", OFFICE)) == (
        "mon to fri from n9 am to noon from n1 n30 pm to n6 pm sat from n10 am to n4 n0 n5 pm"
    )


def test_equal_days_all_week_and_all_day() -> None:
    assert words(opening_clips("zh", calendar(*["08:00-24:00"] * 7))) == "every_day n8 dian to n24 dian"
    assert words(opening_clips("en", calendar(*["00:00-24:00"] * 6, "closed"))) == (
        "mon to sat from midnight to midnight"
    )
    assert words(opening_clips("en", calendar(*["00:00-24:00"] * 7))) == "all_day"
    assert words(opening_clips("en", calendar(*["22:00-06:00"] * 7))) == "every_day from n10 pm to n6 am"


@settings(deadline=None)
@given(st.sampled_from(["zh", "en"]), st.integers(0, 1439), st.integers(1, 1440))
def test_every_time_of_day_is_recorded(language: str, start: int, length: int) -> None:
    end = (start + length) % 1440 if start + length > 1440 else start + length
    if start == end:
        return
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    clips = opening_clips(language, calendar(text, *["closed"] * 6))
    assert all(BOOK.has(clip) for clip in clips), clips
