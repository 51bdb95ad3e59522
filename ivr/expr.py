"""Conditions over a call's attributes: `language == "en" and starts_with(caller, "139")`.

    or   and   not   == != < <= > >=   in   (…)   "text"   12.5   ["a", "b"]   attribute
    starts_with(text, head)   length(text)

Attributes are text, "" when unset. Beside a number, text counts as the number that it spells; `<` and its like are
false when either side spells none. `in` looks for an element of a list, or a part of a text. Text is true unless empty.
Evaluation calls nothing but the two functions above, cannot fail, and takes time bounded by the length of the text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt

MAX_LENGTH = 500
MAX_DEPTH = 20

Value = str | float | bool | list["Value"]
Evaluate = Callable[[Mapping[str, str]], Value]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>"[^"]*"|'[^']*')|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)|(?P<end>$))"""
)
_ORDER: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_WORDS = frozenset(("and", "or", "not", "in", "true", "false"))


class ExpressionError(ValueError):
    """For the flow's author; `column` counts from 1 in the expression."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (character {column})")
        self.column = column


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    names: frozenset[str]
    """Attributes that it asks for."""
    evaluate: Evaluate

    def holds(self, attributes: Mapping[str, str]) -> bool:
        return truth(self.evaluate(attributes))


def compile_expression(text: str) -> Expression:
    """Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    parser = _Parser(text)
    evaluate = parser.either(0)
    if parser.kind != "end":
        raise parser.error("an operator such as 'and', '==' or 'in' should be here")
    return Expression(text, frozenset(parser.names), evaluate)


def truth(value: Value) -> bool:
    return bool(value)


def _number(value: Value) -> float | None:
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", value) else None
    return None if isinstance(value, list) else float(value)


def _same(a: Value, b: Value) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        left, right = _number(a), _number(b)
        return left is not None and left == right
    return a == b


def _inside(a: Value, b: Value) -> bool:
    if isinstance(b, list):
        return any(_same(a, item) for item in b)
    return isinstance(a, str) and isinstance(b, str) and a in b


def _ordered(sign: str, a: Value, b: Value) -> bool:
    left, right = _number(a), _number(b)
    return left is not None and right is not None and _ORDER[sign](left, right)


def _compare(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    match sign:
        case "==":
            return lambda at: _same(left(at), right(at))
        case "!=":
            return lambda at: not _same(left(at), right(at))
        case "in":
            return lambda at: _inside(left(at), right(at))
        case _:
            return lambda at: _ordered(sign, left(at), right(at))


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.names: set[str] = set()
        self.kind = ""
        self.token = ""
        self.start = 0
        self.advance()

    def error(self, message: str) -> ExpressionError:
        return ExpressionError(message, self.start + 1)

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :]
            self.start = self.at + len(rest) - len(rest.lstrip())
            sign = self.text[self.start]
            hint = "; equality is '=='" if sign == "=" else ""
            raise self.error(f"'{sign}' has no meaning here{hint}")
        self.kind = str(found.lastgroup)
        self.token = found.group(self.kind)
        self.start, self.at = found.start(self.kind), found.end()

    def take(self, *tokens: str) -> str:
        if self.kind in ("name", "sign") and self.token in tokens:
            token = self.token
            self.advance()
            return token
        return ""

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.error(f"'{token}' should be here")

    def either(self, depth: int) -> Evaluate:
        if depth > MAX_DEPTH:
            raise self.error("too many brackets in brackets")
        parts = [self.both(depth)]
        while self.take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else lambda at: any(truth(part(at)) for part in parts)

    def both(self, depth: int) -> Evaluate:
        parts = [self.inverted(depth)]
        while self.take("and"):
            parts.append(self.inverted(depth))
        return parts[0] if len(parts) == 1 else lambda at: all(truth(part(at)) for part in parts)

    def inverted(self, depth: int) -> Evaluate:
        inverted = False
        while self.take("not"):
            inverted = not inverted
        inner = self.comparison(depth)
        return (lambda at: not truth(inner(at))) if inverted else inner

    def comparison(self, depth: int) -> Evaluate:
        left = self.term(depth)
        sign = self.take("==", "!=", "<", "<=", ">", ">=", "in")
        return _compare(sign, left, self.term(depth)) if sign else left

    def term(self, depth: int) -> Evaluate:
        if self.take("("):
            inner = self.either(depth + 1)
            self.expect(")")
            return inner
        if self.take("["):
            return self.items(depth)
        kind, token = self.kind, self.token
        if kind in ("number", "text"):
            self.advance()
            value: Value = float(token) if kind == "number" else token[1:-1]
            return lambda at: value
        if kind == "name":
            return self.word(token, depth)
        raise self.error("a text, a number or an attribute should be here")

    def items(self, depth: int) -> Evaluate:
        parts: list[Evaluate] = []
        while not self.take("]"):
            if parts:
                self.expect(",")
            parts.append(self.either(depth + 1))
        return lambda at: [part(at) for part in parts]

    def word(self, name: str, depth: int) -> Evaluate:
        if name in ("true", "false"):
            self.advance()
            return lambda at: name == "true"
        if name in _WORDS:
            raise self.error(f"'{name}' stands where a value should be")
        self.advance()
        if not self.take("("):
            self.names.add(name)
            return lambda at: at.get(name, "")
        if name == "length":
            inner = self.either(depth + 1)
            self.expect(")")
            return lambda at: float(len(str(inner(at))))
        if name == "starts_with":
            whole = self.either(depth + 1)
            self.expect(",")
            head = self.either(depth + 1)
            self.expect(")")
            return lambda at: str(whole(at)).startswith(str(head(at)))
        raise self.error(f"there is no function '{name}'; there are starts_with and length")
