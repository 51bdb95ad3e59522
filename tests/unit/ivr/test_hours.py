"""Opening hours against the wall clock: daylight saving time, holidays, nights."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.hours import Calendar, Interval, Opening, parse_dates, parse_day, parse_weekdays

BERLIN, SHANGHAI, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")


def every_day(zone: ZoneInfo, hours: str, exceptions: dict[date, str] | None = None) -> Calendar:
    days = {day: parse_day(text) for day, text in (exceptions or {}).items()}
    return Calendar(zone, (parse_day(hours),) * 7, days)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def open_minutes(calendar: Calendar, first: str, hours: int) -> int:
    """How many of the minutes from `first` (UTC) it is open."""
    start = utc(first)
    return sum(calendar.opening(start + 60 * n) is Opening.OPEN for n in range(hours * 60))


def test_a_plain_day_in_shanghai() -> None:
    """UTC+8 all year: 09:00-18:00 is 01:00-10:00 UTC; the end is excluded."""
    calendar = every_day(SHANGHAI, "09:00-18:00")
    assert [calendar.opening(utc(f"2026-10-12 {at}")) for at in ("00:59:59", "01:00:00", "09:59:59", "10:00:00")] == [
        Opening.CLOSED,
        Opening.OPEN,
        Opening.OPEN,
        Opening.CLOSED,
    ]


def test_opening_follows_the_wall_clock_through_daylight_saving() -> None:
    """Berlin opens at 09:00: 08:00 UTC in winter, 07:00 UTC in summer, on the day of the change too."""
    calendar = every_day(BERLIN, "09:00-18:00")
    for day, hour in (("2026-03-28", 8), ("2026-03-29", 7), ("2026-10-24", 7), ("2026-10-25", 8)):
        assert calendar.opening(utc(f"{day} {hour - 1:02}:59:59")) is Opening.CLOSED
        assert calendar.opening(utc(f"{day} {hour:02}:00:00")) is Opening.OPEN


@pytest.mark.parametrize(
    ("zone", "first", "hours", "expected"),
    [
        (BERLIN, "2026-10-24 22:00", "02:00-03:00", 120),  # the hour that comes twice
        (BERLIN, "2026-03-28 23:00", "02:00-03:00", 0),  # the hour that there is not
        (BERLIN, "2026-03-28 23:00", "01:00-04:00", 120),
        (NEW_YORK, "2026-11-01 04:00", "01:00-02:00", 120),
        (NEW_YORK, "2026-03-08 05:00", "02:00-03:00", 0),
        (NEW_YORK, "2026-03-08 05:00", "00:00-24:00", 24 * 60),  # minutes of these 24 h: always open
    ],
)
def test_the_nights_of_the_change(zone: ZoneInfo, first: str, hours: str, expected: int) -> None:
    assert open_minutes(every_day(zone, hours), first, 24) == expected


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    calendar = Calendar(SHANGHAI, tuple(parse_day("22:00-06:00" if day == 4 else "closed") for day in range(7)))
    friday = date(2026, 10, 16)
    assert friday.weekday() == 4
    assert open_minutes(calendar, "2026-10-16 14:00", 8) == 8 * 60  # Friday 22:00 to Saturday 06:00
    assert calendar.opening(utc("2026-10-16 22:00")) is Opening.CLOSED  # Saturday 06:00
    assert calendar.opening(utc("2026-10-16 13:59")) is Opening.CLOSED


def test_a_holiday_closes_and_a_working_saturday_opens() -> None:
    office = tuple(parse_day("09:00-18:00" if day < 5 else "closed") for day in range(7))
    exceptions = {date(2026, 10, 1): (), date(2026, 10, 10): parse_day("09:00-12:00")}
    calendar = Calendar(SHANGHAI, office, exceptions)
    assert calendar.opening(utc("2026-10-01 02:00")) is Opening.HOLIDAY  # Thursday 10:00
    assert calendar.opening(utc("2026-10-10 02:00")) is Opening.OPEN  # Saturday 10:00
    assert calendar.opening(utc("2026-10-10 05:00")) is Opening.HOLIDAY  # … but 13:00 is closed by the exception
    assert calendar.opening(utc("2026-10-11 02:00")) is Opening.CLOSED  # Sunday


def test_a_holiday_begins_at_the_zones_midnight_not_ours() -> None:
    calendar = every_day(SHANGHAI, "00:00-24:00", {date(2026, 10, 1): "closed"})
    assert open_minutes(calendar, "2026-09-30 15:00", 26) == 2 * 60


def test_a_night_shift_runs_into_a_holiday() -> None:
    calendar = every_day(SHANGHAI, "22:00-02:00", {date(2026, 10, 1): "closed"})
    assert open_minutes(calendar, "2026-09-30 14:00", 4) == 4 * 60
    assert calendar.opening(utc("2026-10-01 14:30")) is Opening.HOLIDAY


@settings(deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(0, 366 * 24 * 60),
    st.tuples(st.integers(0, 1439), st.integers(1, 1440)),
)
def test_open_means_that_the_wall_shows_a_time_inside(zone: str, minute: int, span: tuple[int, int]) -> None:
    """The definition, asked the other way round."""
    start, end = span[0], span[0] + span[1]
    calendar = Calendar(ZoneInfo(zone), ((Interval(start, end),),) * 7)
    at = utc("2026-01-01") + 60 * minute
    wall = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone))
    shown = wall.hour * 60 + wall.minute
    inside = start <= shown < end or start <= shown + 1440 < end
    assert (calendar.opening(at) is Opening.OPEN) == inside


def test_always_open() -> None:
    assert every_day(SHANGHAI, "00:00-24:00").always_open
    assert not every_day(SHANGHAI, "00:00-23:59").always_open


def test_days_are_parsed() -> None:
    assert parse_day("09:00-12:00, 13:30-18:00") == (Interval(540, 720), Interval(810, 1080))
    assert parse_day("22:00-06:00") == (Interval(1320, 1800),)
    assert parse_day("closed") == ()
    assert parse_weekdays("mon-fri") == [0, 1, 2, 3, 4]
    assert parse_weekdays("fri-mon") == [4, 5, 6, 0]
    assert parse_weekdays("sat, sun") == [5, 6]
    assert parse_dates("2026-09-30..2026-10-02") == [date(2026, 9, 30) + timedelta(days=n) for n in range(3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9-18", "'9-18' is not a time span like '09:00-18:00', nor 'closed'"),
        ("09:00-25:00", "'09:00-25:00' is not within 00:00-24:00"),
        ("09:00-18:60", "'09:00-18:60' is not within 00:00-24:00"),
        ("09:00-09:00", "'09:00-09:00' is empty; a whole day is '00:00-24:00'"),
        ("09:00-12:00, 11:00-13:00", "the hours '09:00-12:00, 11:00-13:00' overlap"),
    ],
)
def test_wrong_hours_are_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the text is compared below)
        parse_day(text)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "text", ["2026-13-01", "2026-02-30", "2026-10-02..2026-10-01", "tomorrow", "2026-01-01..2028-01-01"]
)
def test_wrong_dates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_dates(text)


@pytest.mark.parametrize("text", ["monday", "mon-tue-wed", "", "mon-"])
def test_wrong_weekdays_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no weekdays"):
        parse_weekdays(text)
