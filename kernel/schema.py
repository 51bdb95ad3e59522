"""Checks YAML values against pydantic models and says what is wrong in words for the file's author."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from kernel.yamlsrc import Problem, Source, YamlPath, did_you_mean


class Model(BaseModel):
    """Base of everything that YAML describes: frozen, no unknown keys, numbers may stand for text."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)


M = TypeVar("M", bound=BaseModel)


def validate(kind: type[M], value: Any, source: Source, at: YamlPath = ()) -> tuple[M | None, list[Problem]]:
    """Build a `kind` from the value found at path `at` of a document; None when there is any problem."""
    try:
        return kind.model_validate({} if value is None else value), []
    except ValidationError as error:
        return None, [_problem(kind, dict(e), source, at) for e in error.errors(include_url=False)]


def _problem(kind: type[BaseModel], error: Mapping[str, Any], source: Source, at: YamlPath) -> Problem:
    inner: YamlPath = tuple(step for step in error["loc"] if step != "[key]")
    path = at + inner
    name = str(path[-1]) if path else "file"
    match error["type"]:
        case "missing":
            return source.problem(path[:-1], f"'{name}' is missing")
        case "extra_forbidden":
            return source.problem(path, f"unknown key '{name}'", _hint(kind, inner, name), key=True)
        case "model_type" | "dict_type" | "model_attributes_type":
            return source.problem(path, f"'{name}' should be a mapping (key: value), not {_shown(error['input'])}")
        case "value_error" | "assertion_error":
            return source.problem(path, str(error["msg"]).split(", ", 1)[-1])
    message = str(error["msg"]).removeprefix("Input ")
    text = f"'{name}': {message[:1].lower()}{message[1:]}, not {_shown(error['input'])}"
    return source.problem(path, text, key="[key]" in error["loc"])


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case _:
            text = str(value)
            return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"


def _hint(kind: type[BaseModel], path: YamlPath, word: str) -> str:
    inner: Any = kind
    for step in path[:-1]:
        inner = _inner(inner, step)
    fields = getattr(inner, "model_fields", None)
    return did_you_mean(word, (f.alias or n for n, f in fields.items())) if fields else ""


def _inner(kind: Any, step: str | int) -> Any:
    """The type behind one step of a path; None when it cannot be told."""
    if get_origin(kind) in (Union, UnionType):
        kind = next((k for k in get_args(kind) if k is not type(None)), None)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if step in (name, info.alias):
                return info.annotation
        return None
    arguments = get_args(kind)
    if not arguments:
        return None
    return arguments[1] if get_origin(kind) in (dict, Mapping) and len(arguments) > 1 else arguments[0]
