"""Checks YAML values against pydantic models and says what is wrong in words for the file's author.

`draft` reads what can be read: one mistake hides no other, neither in its own mapping nor in what refers to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from kernel.wording import dotted, sentence, shown
from kernel.yamlsrc import SURE, Problem, Source, YamlPath, did_you_mean, nearest

_CONFIG = ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=True)


class Model(BaseModel):
    """Base of everything that YAML describes: frozen, no unknown keys, numbers may stand for text."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Draft(Generic[M]):
    """As much of a value as could be read."""

    model: M | None
    """Where a value was wrong: its default, else the text as it stands, else a blank ("", 0, [], {}). A key that was
    wrong is there as it stands. None when nothing is known: the file could not be parsed, or is no mapping."""
    source: Source
    problems: tuple[Problem, ...] = ()
    broken: frozenset[YamlPath] = frozenset()
    """Values that are wrong or missing: nothing more should be said about them."""
    keys: frozenset[YamlPath] = frozenset()
    """Keys that are wrong; their values may be good."""

    def good(self, *path: str | int) -> bool:
        """Whether the value there was read as it stands: neither it nor anything around it is wrong."""
        return not self.broken or not any(path[:length] in self.broken for length in range(len(path) + 1))

    def sound(self, *path: str | int) -> bool:
        """Whether nothing within is wrong either."""
        return self.good(*path) and not any(bad[: len(path)] == path for bad in self.broken)


def draft(kind: type[M], value: Any, source: Source, at: YamlPath = ()) -> Draft[M]:
    """Read a `kind` from the value found at path `at` of a document, with every mistake in it."""
    reader = _Reader(source)
    try:
        model: M | None = kind.model_validate({} if value is None else value)
    except ValidationError:
        model = cast("M | None", reader.model(kind, {} if value is None else value, at))
    return Draft(model, source, tuple(reader.problems), frozenset(reader.broken), frozenset(reader.keys))


def validate(kind: type[M], value: Any, source: Source, at: YamlPath = ()) -> tuple[M | None, list[Problem]]:
    """As draft, but None when there is any problem."""
    found = draft(kind, value, source, at)
    return (None if found.problems else found.model), list(found.problems)


class _Missing(Exception):
    """A rule over several fields needs one that could not be read."""


class _Watched:
    """A model whose broken fields refuse to be read, for rules over several fields."""

    def __init__(self, model: BaseModel, broken: frozenset[str]) -> None:
        self._model = model
        self._broken = broken

    def __getattr__(self, name: str) -> Any:
        if name in self._broken:
            raise _Missing
        return getattr(self._model, name)


class _Reader:
    """Reads value by value where a whole does not validate. Depth is bounded by the models."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.broken: set[YamlPath] = set()
        self.keys: set[YamlPath] = set()

    def model(self, kind: type[BaseModel], value: Any, at: YamlPath) -> BaseModel | None:
        """None when the value is no mapping."""
        if not isinstance(value, dict):
            text = f"{dotted(at) or 'the file'}: should be a mapping (key: value), not {shown(value)}"
            self._tell(at, text)
            return None
        names = {info.alias or name: name for name, info in kind.model_fields.items()}
        value = self._respelt(value, names, at)
        fields: dict[str, Any] = {}
        for key, name in names.items():
            info = kind.model_fields[name]
            path = (*at, key)
            if key in value:
                got, good = self._value(info.annotation, tuple(info.metadata), value[key], path)
                if good or info.is_required() or path not in self.broken:
                    fields[key] = got
            elif info.is_required():
                where = f"{dotted(at)}: " if at else ""
                self.problems.append(self.source.problem(at, f"{where}'{key}' is missing"))
                self.broken.add(path)
                fields[key] = _blank(info.annotation)
        model = kind.model_construct(**fields)
        self._rules(kind, model, frozenset(name for key, name in names.items() if (*at, key) in self.broken), at)
        return model

    def _respelt(self, value: dict[str, Any], names: Mapping[str, str], at: YamlPath) -> dict[str, Any]:
        """Tells unknown keys, and reads one that is surely a missing key misspelt as that key."""
        out = {key: item for key, item in value.items() if key in names}
        for key, item in value.items():
            if key in names:
                continue
            hint = did_you_mean(key, names)
            self.problems.append(self.source.problem((*at, key), f"unknown key '{key}'", hint, key=True))
            meant = nearest(key, names)
            if meant and meant not in out and nearest(key, [meant], SURE):
                out[meant] = item
                self.source.respelt[(*at, meant)] = (*at, key)
        return out

    def _rules(self, kind: type[BaseModel], model: BaseModel, broken: frozenset[str], at: YamlPath) -> None:
        """The model's own validators over several fields, as far as those fields were read."""
        for rule in kind.__pydantic_decorators__.model_validators.values():
            if rule.info.mode != "after":
                continue
            check = cast(Callable[[Any], Any], getattr(kind, rule.cls_var_name))
            try:
                check(_Watched(model, broken))
            except _Missing:
                continue
            except ValueError as error:
                self._tell(at, f"{dotted(at)}: {error}" if at else str(error))

    def _value(self, annotation: Any, metadata: tuple[Any, ...], value: Any, at: YamlPath) -> tuple[Any, bool]:
        """(what could be read, whether it is all good)."""
        try:
            return _adapter(annotation, metadata).validate_python(value), True
        except ValidationError as error:
            failed = error
        annotation, metadata = _bare(annotation, metadata)
        unpacked = _unpacked(metadata, value)
        if unpacked is not None:
            found = self._inside(annotation, unpacked, at)
            if found is not None:
                self._whole(failed, metadata, at)
                return found, False
        first = failed.errors(include_url=False)[0]
        self._say(dict(first), metadata, at)
        self.broken.add(at)
        return (value if annotation is str and isinstance(value, str) else _blank(annotation)), False

    def _inside(self, annotation: Any, value: Any, at: YamlPath) -> Any:
        """A model, list or mapping read part by part; None when the value is nothing of the kind."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, dict):
            return self.model(annotation, value, at)
        if origin is dict and isinstance(value, dict):
            return self._mapping(arguments, value, at)
        if origin is list and isinstance(value, list):
            return [self._value(arguments[0], (), item, (*at, n))[0] for n, item in enumerate(value)]
        return None

    def _mapping(self, arguments: tuple[Any, ...], value: dict[str, Any], at: YamlPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            path = (*at, key)
            out[key] = self._value(arguments[1], (), item, path)[0]
            try:
                _adapter(arguments[0], ()).validate_python(key)
            except ValidationError as error:
                first = dict(error.errors(include_url=False)[0])
                _, metadata = _bare(arguments[0], ())
                message, hint = sentence(f"{dotted(at)}: key", first, metadata)
                self.problems.append(self.source.problem(path, message.replace("key: ", "the key ", 1), hint, key=True))
                self.keys.add(path)
        return out

    def _whole(self, failed: ValidationError, metadata: tuple[Any, ...], at: YamlPath) -> None:
        """What is wrong with a list or mapping as such: too short, too long."""
        for error in failed.errors(include_url=False):
            if not error["loc"] and error["type"] in ("too_short", "too_long"):
                self._say(dict(error), metadata, at)
                self.broken.add(at)

    def _say(self, error: Mapping[str, Any], metadata: tuple[Any, ...], at: YamlPath) -> None:
        """Text that was taken apart (`udp:127.0.0.1:99999`) names the part before the value."""
        taken_apart = bool(self.source.values) and self.source.written(at) not in self.source.values
        name = dotted(at[:-1] if taken_apart else at)
        message, hint = sentence(name, error, metadata)
        if taken_apart and isinstance(at[-1], str):
            message = message.replace(": ", f": {at[-1]} ", 1)
        self.problems.append(self.source.problem(at, message, hint))

    def _tell(self, at: YamlPath, message: str) -> None:
        self.problems.append(self.source.problem(at, message))
        self.broken.add(at)


def _adapter(annotation: Any, metadata: tuple[Any, ...]) -> TypeAdapter[Any]:
    whole: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    bare, _ = _bare(annotation, ())
    own = isinstance(bare, type) and issubclass(bare, BaseModel)
    return TypeAdapter(whole) if own else TypeAdapter(whole, config=_CONFIG)


def _bare(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The type without Annotated and `| None`, and everything that was annotated."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation, metadata = annotation.__origin__, (*annotation.__metadata__, *metadata)
        elif get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation):
            rest = [one for one in get_args(annotation) if one is not type(None)]
            if len(rest) > 1:
                return annotation, metadata
            annotation = rest[0]
        else:
            return annotation, metadata


def _unpacked(metadata: tuple[Any, ...], value: Any) -> Any:
    """The value as the type's own BeforeValidators give it; None when they refuse it."""
    for item in reversed(metadata):
        if isinstance(item, BeforeValidator):
            try:
                value = cast(Callable[[Any], Any], item.func)(value)
            except ValueError:
                return None
    return value


def _blank(annotation: Any) -> Any:
    """Something of the type, to stand where nothing could be read."""
    if type(None) in get_args(annotation):
        return None
    bare, _ = _bare(annotation, ())
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        fields = bare.model_fields.items()
        return bare.model_construct(
            **{info.alias or name: _blank(info.annotation) for name, info in fields if info.is_required()}
        )
    origin = get_origin(bare) or bare
    return origin() if origin in (str, int, float, bool, list, dict) else None
