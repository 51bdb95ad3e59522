"""Numbers between what an operator writes and E.164: prefix rules, so that no number can cost more than a look at each.

A rule looks at the beginning and the length of a number; there are no regular expressions in a call's path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

NUMBER_MAX = 32
"""Digits of a number that rules are applied to, and that a trunk may be given."""
_DIGITS = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A number that begins with `prefix` and has min_length … max_length characters (`+` counts) loses its first
    `strip` characters and gets `prepend` before the rest; or is refused."""

    prefix: str = ""
    strip: int = 0
    prepend: str = ""
    min_length: int = 1
    max_length: int = NUMBER_MAX
    refuse: bool = False

    def fits(self, number: str) -> bool:
        return self.min_length <= len(number) <= self.max_length and number.startswith(self.prefix)


def is_number(text: str) -> bool:
    """An optional `+` and 1 to 32 of 0-9 * #."""
    digits = text.removeprefix("+")
    return 0 < len(digits) <= NUMBER_MAX and _DIGITS.issuperset(digits)


def rewrite(number: str, rules: Sequence[Rule]) -> str | None:
    """The number by the first rule that fits; as it is when none does, or when it is no number (a SIP user's name).

    None: refused. Cost: O(rules)."""
    if not is_number(number):
        return number
    for rule in rules:
        if rule.fits(number):
            return None if rule.refuse else rule.prepend + number[rule.strip :]
    return number
