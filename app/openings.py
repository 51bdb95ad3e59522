"""hours.yaml as calendars: its texts must be zones, weekdays, dates and times of day."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from app import sections
from ivr.hours import WEEKDAYS, Calendar, Day, parse_dates, parse_day, parse_weekdays
from kernel.schema import Draft
from kernel.yamlsrc import Problem, YamlPath, did_you_mean

T = TypeVar("T")


def calendars(hours: Draft[sections.Hours]) -> tuple[dict[str, Calendar], list[Problem]]:
    """Calendars without mistakes, and the mistakes of the others."""
    reader = _Reader(hours)
    texts = hours.model.calendars if hours.model else {}
    zones = available_timezones() if texts else set()
    out = {name: found for name, text in texts.items() if (found := reader.calendar(name, text, zones))}
    return out, reader.problems


class _Reader:
    def __init__(self, hours: Draft[sections.Hours]) -> None:
        self.hours = hours
        self.problems: list[Problem] = []

    def calendar(self, name: str, text: sections.CalendarText, zones: set[str]) -> Calendar | None:
        """None when its zone is unknown; the days are read all the same."""
        at: YamlPath = ("calendars", name)
        weekly = self._weekly(text, at)
        exceptions: dict[date, Day] = {}
        for dates, spans in text.exceptions.items():
            path = (*at, "exceptions", dates)
            days = self._parsed(parse_dates, dates, path, key=True) or []
            exceptions |= dict.fromkeys(days, self._day(spans, path))
        if text.timezone in zones:
            return Calendar(ZoneInfo(text.timezone), weekly, exceptions)
        if self.hours.good(*at, "timezone"):
            message = f"'{text.timezone}' is not an IANA time zone"
            self._tell((*at, "timezone"), message, did_you_mean(text.timezone, zones))
        return None

    def _weekly(self, text: sections.CalendarText, at: YamlPath) -> tuple[Day, ...]:
        days: dict[int, Day] = {}
        for names, spans in text.weekly.items():
            path = (*at, "weekly", names)
            hours = self._day(spans, path)
            parts = [self._parsed(parse_weekdays, part.strip(), path, key=True) or [] for part in names.split(",")]
            for day in (day for part in parts for day in part):
                if day in days:
                    self._tell(path, f"the hours of {WEEKDAYS[day]} are given twice", key=True)
                days[day] = hours
        return tuple(days.get(day, ()) for day in range(7))

    def _day(self, spans: Sequence[str], path: YamlPath) -> Day:
        """Each span for itself, so that one mistake hides no other; then all together, for overlaps."""
        before = len(self.problems)
        good = [(n, span) for n, span in enumerate(spans) if self.hours.good(*path, n)]
        for n, span in good:
            for part in span.split(","):
                self._parsed(parse_day, part.strip(), (*path, n))
        if not good or len(good) < len(spans) or len(self.problems) > before:
            return ()
        return self._parsed(parse_day, ", ".join(spans), path) or ()

    def _parsed(self, parse: Callable[[str], T], text: str, path: YamlPath, *, key: bool = False) -> T | None:
        try:
            return parse(text)
        except ValueError as error:
            self._tell(path, str(error), key=key)
            return None

    def _tell(self, path: YamlPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.hours.source.problem(path, message, hint, key=key))
