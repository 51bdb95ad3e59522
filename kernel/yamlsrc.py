"""YAML with its places: plain values, and where in which file each of them stands.

A narrower YAML than PyYAML's, so that what a person reads is what the program gets:
- scalars are text, except plain `true`/`false`, `null`/`~`/nothing, integers and decimals. `no`, `on`, `10:30`, `0123`,
  `+8610` and `2026-10-01` stay text (YAML 1.1 would make them false, true, 630, 83, 8610 and a date);
- keys are always text: `1: billing` has the key "1";
- one document a file, no tags, no duplicate keys; an alias counts as a copy, and copies are bounded.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 8 * 1024 * 1024
"""20 000 agents take about 3 MB."""
MAX_NODES = 1_000_000
"""Scalars, lists and mappings, those that aliases repeat included."""
MAX_DEPTH = 32
SURE = 0.75
"""Likeness from which a misspelt word is read as the known one, so that what hangs on it is checked too."""

# The C parser is ~20 times faster; without it (a PyYAML built without libyaml) the Python one gives the same events.
_LOADER: type[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}

YamlPath = tuple[str | int, ...]
"""Keys and list indices from the top of the document."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in one file, as its author should read it. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


@dataclass(frozen=True, slots=True)
class Source:
    """Where each value and key of one document stands. Unknown paths have the place of their nearest known parent."""

    file: str
    values: dict[YamlPath, tuple[int, int]] = field(default_factory=dict)
    keys: dict[YamlPath, tuple[int, int]] = field(default_factory=dict)
    respelt: dict[YamlPath, YamlPath] = field(default_factory=dict)
    """Path as it should be spelt → as its author spelt it. Readers who guess what was meant add to it."""

    def written(self, path: YamlPath) -> YamlPath:
        """The path as the author spelt it."""
        for length in range(1, len(path) + 1) if self.respelt else ():
            if path[:length] in self.respelt:
                return self.written((*self.respelt[path[:length]], *path[length:]))
        return path

    def place(self, path: YamlPath, *, key: bool = False) -> tuple[int, int]:
        """(line, column) of a value, or of the key that names it."""
        path = self.written(path)
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def problem(self, path: YamlPath, message: str, hint: str = "", *, key: bool = False) -> Problem:
        return Problem(self.file, *self.place(path, key=key), message, hint)

    def line(self, path: YamlPath) -> str:
        """`file:line` of a key, for hints."""
        return f"{self.file}:{self.place(path, key=True)[0]}"


@dataclass(frozen=True, slots=True)
class Document:
    value: Any
    """dict, list, str, int, float, bool or None; None as well when the file could not be read."""
    source: Source
    problems: tuple[Problem, ...] = ()


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The name that a misspelt word most likely means; "" when none is near. cutoff: 0.6 to suggest, SURE to assume."""
    close = get_close_matches(word, sorted(set(known)), n=1, cutoff=cutoff)
    return close[0] if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: "did you mean 'x'?", or what there is when nothing is near; "" if nothing is."""
    names = sorted(set(known))
    if close := nearest(word, names):
        return f"did you mean '{close}'?"
    if not names:
        return ""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"known: {', '.join(names[:12])}{more}"


def read(path: Path, shown: str) -> Document:
    """Read a file; `shown` is its name in messages. Raises nothing: what went wrong is in `problems`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return _failed(shown, f"the file is larger than {MAX_BYTES // 2**20} MB")
        data = path.read_bytes()
    except OSError as error:
        return _failed(shown, f"cannot read the file: {error.strerror}")
    return parse(data, shown)


def parse(data: bytes, shown: str) -> Document:
    """As read, for bytes at hand. Duplicate keys are all reported; a syntax error ends the reading."""
    if len(data) > MAX_BYTES:
        return _failed(shown, f"the file is larger than {MAX_BYTES // 2**20} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _failed(shown, "the text is not UTF-8", line, error.start - data.rfind(b"\n", 0, error.start))
    if bad := _UNPRINTABLE.search(text):
        at = bad.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        return _failed(shown, f"the character U+{ord(bad.group()):04X} is not allowed", line, column)
    builder = _Builder(shown)
    try:
        value = builder.document(yaml.parse(text, Loader=_LOADER))
    except _Refused as refused:
        return Document(None, builder.source, (*builder.problems, refused.problem))
    except yaml.MarkedYAMLError as error:
        return Document(None, builder.source, (*builder.problems, _syntax_problem(shown, error)))
    return Document(value, builder.source, tuple(builder.problems))


def _failed(shown: str, message: str, line: int = 1, column: int = 1) -> Document:
    return Document(None, Source(shown), (Problem(shown, line, column, message),))


def _syntax_problem(shown: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = f"not valid YAML: {error.problem or error.context or 'unknown error'}"
    hint = ""
    if "tab" in message or "start any token" in message:
        hint = "indent by spaces; put text that begins with a sign such as * # @ % ` in quotes"
    elif "mapping values are not allowed" in message:
        hint = "text with ': ' in it must be in quotes"
    return Problem(shown, line, column, message, hint)


def plain(text: str) -> Any:
    """The value of a scalar written without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


class _Builder:
    """Turns parser events into values, noting places. Recursion is bounded by MAX_DEPTH."""

    def __init__(self, shown: str) -> None:
        self.source = Source(shown)
        self.problems: list[Problem] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def document(self, events: Iterator[Any]) -> Any:
        value: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "a second document begins here", "one document a file: remove '---'")
            elif isinstance(event, yaml.NodeEvent):
                value = self._node(event, events, ())
        return value

    def _refuse(self, event: Any, message: str, hint: str = "") -> _Refused:
        mark = event.start_mark
        return _Refused(Problem(self.source.file, mark.line + 1, mark.column + 1, message, hint))

    def _node(self, event: Any, events: Iterator[Any], path: YamlPath) -> Any:
        self.source.values[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        before = self._nodes
        self._count(event, 1)
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag not in (None, "!"):
            raise self._refuse(event, f"the tag '{event.tag}' is not allowed", "write the value without a tag")
        if isinstance(event, yaml.ScalarEvent):
            value = plain(event.value) if event.implicit[0] else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(events, path)
        else:
            value = self._mapping(events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._refuse(event, f"more than {MAX_NODES} values in one file, those repeated by aliases included")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"the alias '*{event.anchor}' has no anchor '&{event.anchor}' before it")
        value, nodes = self._anchors[event.anchor]
        self._count(event, nodes)
        return value

    def _sequence(self, events: Iterator[Any], path: YamlPath) -> list[Any]:
        out: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            out.append(self._node(event, events, (*path, len(out))))
        return out

    def _mapping(self, events: Iterator[Any], path: YamlPath, into: dict[str, Any] | None = None) -> dict[str, Any]:
        """into: an earlier mapping of the same name, which this one adds to."""
        out: dict[str, Any] = {} if into is None else into
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "a key must be a single word or number")
            here = (*path, event.value)
            mark: Any = event.start_mark
            if event.value in out:
                message, hint = f"the key '{event.value}' is given twice", f"first at {self.source.line(here)}"
                self.problems.append(Problem(self.source.file, mark.line + 1, mark.column + 1, message, hint))
                self._again(next(events), events, here, out[event.value])
                continue
            self.source.keys[here] = (mark.line + 1, mark.column + 1)
            out[event.value] = self._node(next(events), events, here)
        return out

    def _again(self, event: Any, events: Iterator[Any], path: YamlPath, first: Any) -> None:
        """The value of a key given twice. The first counts, but of a whole section both: names of the second are not
        to be called unknown elsewhere."""
        if len(path) == 1 and isinstance(first, dict) and isinstance(event, yaml.MappingStartEvent):
            self._count(event, 1)
            self._mapping(events, path, first)
        else:
            self._node(event, events, (*path, "again"))
