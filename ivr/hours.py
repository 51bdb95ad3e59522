"""Opening hours: pure questions to a calendar, right over daylight saving time and holidays.

Hours are wall-clock times in the calendar's IANA zone, so the question is always: what does the clock on the wall there
show at this instant? On the night when clocks go back an interval 01:00-02:00 lasts two hours, and none at all when
clocks jump over it: as the people who work by that clock expect. A date's exception replaces the weekly hours of that
date; an interval over midnight belongs to the day on which it begins.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

MINUTES_A_DAY = 24 * 60
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_INTERVAL = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_ONE_DATE = r"(\d{4}-\d{2}-\d{2})"
_DATES = re.compile(rf"{_ONE_DATE}(?:\s*\.\.\s*{_ONE_DATE})?")
MAX_EXCEPTION_DAYS = 366


class Opening(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    """Outside the weekly hours."""
    HOLIDAY = "holiday"
    """Closed by an exception of this date."""


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Minutes of the wall clock from midnight; `end` is excluded, and above 1440 when it lies on the next day."""

    start: int
    end: int


Day = tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    zone: ZoneInfo
    weekly: tuple[Day, ...]
    """Seven, Monday first."""
    exceptions: dict[date, Day] = field(default_factory=dict)

    def day(self, on: date) -> Day:
        """The intervals that begin on a date."""
        exception = self.exceptions.get(on)
        return self.weekly[on.weekday()] if exception is None else exception

    def opening(self, at: float) -> Opening:
        """`at`: UTC seconds since 1970."""
        wall = datetime.fromtimestamp(at, UTC).astimezone(self.zone)
        minute = wall.hour * 60 + wall.minute
        today = wall.date()
        if any(i.start <= minute < i.end for i in self.day(today)):
            return Opening.OPEN
        if any(minute + MINUTES_A_DAY < i.end for i in self.day(today - timedelta(days=1))):
            return Opening.OPEN
        return Opening.HOLIDAY if today in self.exceptions else Opening.CLOSED

    @property
    def always_open(self) -> bool:
        return all(day == (Interval(0, MINUTES_A_DAY),) for day in self.weekly)


def parse_day(text: str) -> Day:
    """`09:00-12:00, 13:30-18:00`, or `closed`. `22:00-06:00` ends on the next day. Raises ValueError for people."""
    if text.strip() == "closed":
        return ()
    intervals = sorted(_interval(part.strip()) for part in text.split(","))
    for before, after in pairwise(intervals):
        if after.start < before.end:
            raise ValueError(f"the hours '{text}' overlap")
    return tuple(intervals)


def _interval(text: str) -> Interval:
    found = _INTERVAL.fullmatch(text)
    if not found:
        raise ValueError(f"'{text}' is not a time span like '09:00-18:00', nor 'closed'")
    start_hour, start_minute, end_hour, end_minute = map(int, found.groups())
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if max(start_minute, end_minute) > 59 or start >= MINUTES_A_DAY or end > MINUTES_A_DAY:
        raise ValueError(f"'{text}' is not within 00:00-24:00")
    if start == end:
        raise ValueError(f"'{text}' is empty; a whole day is '00:00-24:00'")
    return Interval(start, end if end > start else end + MINUTES_A_DAY)


def parse_weekdays(text: str) -> list[int]:
    """`mon-fri`, `sat`, `sat, sun`, `fri-mon` (over Sunday) → 0 (Monday) … 6. Raises ValueError for people."""
    days: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or any(end not in WEEKDAYS for end in ends):
            raise ValueError(
                f"'{part.strip()}' names no weekdays; write mon, tue, wed, thu, fri, sat, sun or 'mon-fri'"
            )
        first, last = WEEKDAYS.index(ends[0]), WEEKDAYS.index(ends[-1])
        days += [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return days


def parse_dates(text: str) -> list[date]:
    """`2026-10-01` or `2026-10-01..2026-10-07`. Raises ValueError for people."""
    found = _DATES.fullmatch(text.strip())
    if not found:
        raise ValueError(f"'{text}' is not a date like '2026-10-01', nor '2026-10-01..2026-10-07'")
    try:
        first = date.fromisoformat(found.group(1))
        last = date.fromisoformat(found.group(2) or found.group(1))
    except ValueError:
        raise ValueError(f"'{text}' is not in the calendar") from None
    days = (last - first).days + 1
    if not 1 <= days <= MAX_EXCEPTION_DAYS:
        raise ValueError(f"'{text}' ends before it begins, or is longer than a year")
    return [first + timedelta(days=n) for n in range(days)]
