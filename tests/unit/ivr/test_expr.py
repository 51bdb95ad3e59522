"""Conditions: what they mean, what they refuse, and that nothing else can come out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.expr import ExpressionError, compile_expression

FACTS = {"language": "en", "caller": "13900001111", "tier": "3", "empty": "", "zeros": "0030"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('language == "en"', True),
        ("language == 'zh'", False),
        ('language != "zh" and tier == 3', True),
        ("tier >= 3 and tier < 4", True),
        ("zeros == 30", True),
        ('zeros == "30"', False),
        ("language < 3", False),  # no number: neither smaller
        ("language > 3", False),  # … nor greater
        ('language in ["zh", "en"]', True),
        ("tier in [1, 2, 3]", True),
        ('"139" in caller', True),
        ('starts_with(caller, "139")', True),
        ("length(caller) == 11", True),
        ("not empty", True),
        ("unset", False),
        ("not not language", True),
        ("false or true and false", False),
        ("(true or false) and not false", True),
        ('language == "zh" or language == "en" and tier == 9', False),
        ("[] == []", True),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert compile_expression(text).holds(FACTS) is expected


def test_names_are_known_beforehand() -> None:
    assert compile_expression('a == b and starts_with(c, "x") or length(d) in [e]').names == frozenset("abcde")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a text, a number or an attribute should be here (character 1)"),
        ('language = "en"', "'=' has no meaning here; equality is '==' (character 10)"),
        ("language == ", "a text, a number or an attribute should be here (character 13)"),
        ("(tier == 1", "')' should be here (character 11)"),
        ("tier 3", "an operator such as 'and', '==' or 'in' should be here (character 6)"),
        ("open(caller)", "there is no function 'open'; there are starts_with and length (character 6)"),
        ("and", "'and' stands where a value should be (character 1)"),
        ("caller.__class__", "'.' has no meaning here (character 7)"),
        ('"en', "'\"' has no meaning here (character 1)"),
    ],
)
def test_mistakes_are_explained(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        compile_expression(text)
    assert str(raised.value) == message


def test_depth_and_length_are_bounded() -> None:
    for text in ("(" * 200 + "1", "[" * 200, "length(" * 60, "x" * 501):
        with pytest.raises(ExpressionError):
            compile_expression(text)


PIECES = ["and", "or", "not", "in", "==", "<", "(", ")", "[", "]", ",", "a", "1", '"x"', "length(", "starts_with(", " "]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join), st.dictionaries(st.just("a"), st.text(max_size=5)))
def test_an_expression_or_an_error_never_a_surprise(text: str, facts: dict[str, str]) -> None:
    try:
        condition = compile_expression(text)
    except ExpressionError:
        return
    assert condition.holds(facts) in (True, False)
