"""Values as spoken clips: numbers, places in a queue, waiting times, opening hours, in Chinese and in English.

Every function is pure and returns clips as the PromptBook names them (`zh/n15`, without folder and `.wav`). Another
language whose word order suits is added by recording the same clips; the differences are the few tables below.
"""

from itertools import groupby
from math import ceil

from ivr.hours import MINUTES_A_DAY, WEEKDAYS, Calendar, Day

MAX_MINUTES_TOLD = 30
"""A longer wait is told as "more than thirty minutes"."""
WHOLE_NUMBERS = (*range(61), 70, 80, 90)
"""Numbers that are one clip each, `n0` … `n60`; the others are put together from them."""

QUEUE_CLIPS = ("queue_next", "queue_you_are", "queue_place", "wait_under_one", "wait_about", "wait_long")
_COMMON = (
    *(f"n{n}" for n in WHOLE_NUMBERS),
    "hundred",
    "thousand",
    *QUEUE_CLIPS,
    *WEEKDAYS,
    "every_day",
    "to",
    "all_day",
)
_OWN = {
    "zh": ("liang", "minutes", "dian", "ban", "fen"),
    "en": ("minute", "minutes", "from", "am", "pm", "noon", "midnight"),
}


def vocabulary(language: str) -> list[str]:
    """All clips that the functions below may name."""
    return [f"{language}/{name}" for name in (*_COMMON, *_OWN.get(language, _OWN["en"]))]


def number_clips(language: str, number: int) -> list[str]:
    """0 … 9999 as a cardinal number; anything else digit by digit."""
    if not 0 <= number <= 9999:
        return digit_clips(language, str(number))
    names = _zh_number(number) if language == "zh" else _en_number(number)
    return [f"{language}/{name}" for name in names]


def digit_clips(language: str, text: str) -> list[str]:
    """The digits of a text one by one; other characters are passed over."""
    return [f"{language}/n{digit}" for digit in text if digit in "0123456789"]


def _below_hundred(number: int) -> list[str]:
    if number in WHOLE_NUMBERS:
        return [f"n{number}"]
    return [f"n{number // 10 * 10}", f"n{number % 10}"]


def _en_number(number: int) -> list[str]:
    thousands, rest = divmod(number, 1000)
    hundreds, rest = divmod(rest, 100)
    out = [f"n{thousands}", "thousand"] if thousands else []
    out += [f"n{hundreds}", "hundred"] if hundreds else []
    return out + (_below_hundred(rest) if rest or not out else [])


def _zh_number(number: int) -> list[str]:
    """二百, 两千; 一百零五, 一千零五十: one 零 for a gap; 一百一十, not 一百十."""
    thousands, rest = divmod(number, 1000)
    out = ["liang" if thousands == 2 else f"n{thousands}", "thousand"] if thousands else []
    hundreds, below = divmod(rest, 100)
    if hundreds:
        out += [f"n{hundreds}", "hundred"]
    if not below and out:
        return out
    if out and (below < 10 or not hundreds):
        out.append("n0")
    if out and hundreds and 10 <= below < 20:
        out.append("n1")
    return out + _below_hundred(below)


def position_clips(language: str, position: int, wait_seconds: float) -> list[str]:
    """What a queued caller is told. position: 1 is next. wait_seconds < 0: unknown, so only the position is told."""
    if position <= 1:
        clips = [f"{language}/queue_next"]
    else:
        clips = [f"{language}/queue_you_are", *number_clips(language, position), f"{language}/queue_place"]
    return clips + wait_clips(language, wait_seconds)


def wait_clips(language: str, seconds: float) -> list[str]:
    """An expected wait in whole minutes, rounded up: a caller forgives a shorter one. [] when unknown (< 0)."""
    if seconds < 0:
        return []
    if seconds < 60:
        return [f"{language}/wait_under_one"]
    if seconds > MAX_MINUTES_TOLD * 60:  # infinity too
        return [f"{language}/wait_long"]
    minutes = ceil(seconds / 60)
    if language == "zh":
        number, unit = ("liang" if minutes == 2 else f"n{minutes}"), "minutes"
    else:
        number, unit = f"n{minutes}", "minute" if minutes == 1 else "minutes"
    return [f"{language}/wait_about", f"{language}/{number}", f"{language}/{unit}"]


def opening_clips(language: str, calendar: Calendar) -> list[str]:
    """The weekly hours: days with equal hours together, closed days passed over."""
    if calendar.always_open:
        return [f"{language}/all_day"]
    names: list[str] = []
    for first, last, day in _day_groups(calendar.weekly):
        if first == last:
            names.append(WEEKDAYS[first])
        else:
            names += ["every_day"] if (first, last) == (0, 6) else [WEEKDAYS[first], "to", WEEKDAYS[last]]
        for interval in day:
            names += [] if language == "zh" else ["from"]
            names += [*_time(language, interval.start), "to", *_time(language, interval.end)]
    return [f"{language}/{name}" for name in names]


def _day_groups(weekly: tuple[Day, ...]) -> list[tuple[int, int, Day]]:
    out = []
    for day, group in groupby(range(7), key=lambda n: weekly[n]):
        days = list(group)
        if day:
            out.append((days[0], days[-1], day))
    return out


def _time(language: str, minute: int) -> list[str]:
    """A time of day: 570 → 九点半, nine thirty a.m. 1440 is 二十四点, midnight."""
    if minute > MINUTES_A_DAY:
        minute -= MINUTES_A_DAY
    hour, rest = divmod(minute, 60)
    if language == "zh":
        if not rest:
            return [f"n{hour}", "dian"]
        return [f"n{hour}", "dian", "ban"] if rest == 30 else [f"n{hour}", "dian", *_padded(rest), "fen"]
    if not rest and hour in (0, 12, 24):
        return ["noon" if hour == 12 else "midnight"]
    minutes = _padded(rest) if rest else []
    return [f"n{(hour - 1) % 12 + 1}", *minutes, "am" if hour < 12 else "pm"]


def _padded(minute: int) -> list[str]:
    return [f"n{minute}"] if minute >= 10 else ["n0", f"n{minute}"]
