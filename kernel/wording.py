"""What pydantic finds wrong with a value, in the words of the file's author: which key, its value, what is allowed."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kernel.yamlsrc import YamlPath, did_you_mean

_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_CLASS = re.compile(r"\[([^\]\\]+)\](\?|\*|\+|\{\d+(?:,\d*)?\})?")


def dotted(path: YamlPath) -> str:
    """`sip.listen` for ("sip", "listen", 0): list indices are told by the place."""
    return ".".join(step for step in path if isinstance(step, str))


def shown(value: Any) -> str:
    """A value in a message. Long texts are cut."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case _:
            text = str(value)
            return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"


def sentence(name: str, error: Mapping[str, Any], metadata: Iterable[Any]) -> tuple[str, str]:
    """(message, hint) of one pydantic error about the value called `name`; metadata: the limits of its type."""
    value, kind = shown(error["input"]), str(error["type"])
    limits = _limits(metadata)
    hint = ""
    if kind in _RANGES:
        what = f"{value} is not {limits or 'in its range'}"
    elif kind.startswith("int_"):
        what = f"{value} is not a whole number {limits}".rstrip()
    elif kind.startswith(("float_", "finite_number", "decimal_")):
        what = f"{value} is not a number {limits}".rstrip()
    elif kind.startswith("bool_"):
        what = f"{value} is not true or false"
    elif kind == "string_pattern_mismatch":
        what = f"{value} is not {in_words(str(error['ctx']['pattern']))}"
    elif kind in ("literal_error", "enum"):
        what, hint = _choice(value, error)
    elif kind in ("value_error", "assertion_error"):
        what = str(error["msg"]).split(", ", 1)[-1]
    else:
        what, hint = _shape(kind, value, error)
    return f"{name}: {what}", hint


def _choice(value: str, error: Mapping[str, Any]) -> tuple[str, str]:
    expected = str(error["ctx"]["expected"])
    allowed = expected.replace("'", "")
    near = did_you_mean(str(error["input"]), re.findall(r"'([^']+)'", expected))
    return f"{value} is not {allowed}", near if near.startswith("did you mean") else ""


def _shape(kind: str, value: str, error: Mapping[str, Any]) -> tuple[str, str]:
    """Text, lists and mappings: another kind of thing, or too little or much of it."""
    if kind.startswith("string_t"):
        return f"should be text, not {value}", f'quotes make it text: "{value}"' if isinstance(
            error["input"], bool
        ) else ""
    if kind.startswith(("list_", "tuple_", "iterable_")):
        return f"should be a list, not {value}", "write [one, two], or a line '- one' for each"
    if kind.startswith(("dict_", "model_", "mapping_")):
        return f"should be a mapping (key: value), not {value}", ""
    if kind == "too_short" and not error["ctx"]["actual_length"]:
        return "must not be empty", ""
    if kind in ("too_short", "too_long"):
        limit = error["ctx"].get("min_length", error["ctx"].get("max_length"))
        return f"has {error['ctx']['actual_length']} entries; {kind.replace('_', ' ')}, the limit is {limit}", ""
    message = str(error["msg"]).removeprefix("Input ")
    return f"{message[:1].lower()}{message[1:]}, not {value}", ""


def flat(metadata: Iterable[Any]) -> Iterator[Any]:
    """Limits, those within a Field() too."""
    for item in metadata:
        yield item
        yield from flat(getattr(item, "metadata", ()))


def _limits(metadata: Iterable[Any]) -> str:
    """`0…65535`, `above 0 and up to 120`."""
    found: dict[str, Any] = {}
    for item in flat(metadata):
        found |= {name: getattr(item, name) for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    top = f"up to {found['le']}" if "le" in found else f"below {found['lt']}" if "lt" in found else ""
    if "ge" in found and "le" in found:
        return f"{found['ge']}…{found['le']}"
    low = f"{found['ge']} or more" if "ge" in found else f"above {found['gt']}" if "gt" in found else ""
    return " and ".join(part for part in (low, top) if part)


def in_words(pattern: str) -> str:
    """A simple pattern in words: `^[0-9*#]$` → "one of 0-9 * #"."""
    parts = list(_CLASS.finditer(pattern.removeprefix("^").removesuffix("$")))
    if "".join(part.group() for part in parts) != pattern.removeprefix("^").removesuffix("$"):
        return f"of the form {pattern}"
    sets = [" ".join(re.findall(r".-.|.", part[1])) for part in parts]
    if len(parts) == 1:
        return {"": "one of ", "?": "one of ", "*": "only of ", "+": "one or more of "}.get(
            parts[0][2] or "", f"{_count(parts[0][2] or '')} of "
        ) + sets[0]
    return f"a name: first one of {sets[0]}, then only {sets[1]}"


def _count(quantity: str) -> str:
    """`{1,32}` → 1…32."""
    low, comma, high = quantity.strip("{}").partition(",")
    if not comma:
        return f"exactly {low}"
    return f"{low}…{high}" if high else f"{low} or more"
