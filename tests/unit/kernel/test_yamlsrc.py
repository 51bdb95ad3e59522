"""YAML with places: what a person reads is what the program gets, and every mistake has a line and a column."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import yamlsrc
from kernel.yamlsrc import Problem, did_you_mean, parse, read


def values(text: str) -> object:
    document = parse(text.encode(), "t.yaml")
    assert not document.problems
    return document.value


def problems(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in parse(data, "t.yaml").problems]


def test_the_traps_of_yaml_1_1_stay_text() -> None:
    """Norway, sexagesimal times, octal digits and dates: none of them is what its author wrote."""
    text = "[no, on, 10:30, 0123, +8610, 2026-10-01, 1e5, 0x1F, 1_000]"
    assert values(text) == ["no", "on", "10:30", "0123", "+8610", "2026-10-01", "1e5", "0x1F", "1_000"]


def test_plain_values() -> None:
    assert values('[1, -2, 1.5, true, false, ~, null, "1", "true", x]') == [
        1,
        -2,
        1.5,
        True,
        False,
        None,
        None,
        "1",
        "true",
        "x",
    ]


def test_keys_are_text_as_written() -> None:
    assert values("{1: a, 01: b, true: c, '*': d}") == {"1": "a", "01": "b", "true": "c", "*": "d"}


def test_places_of_values_and_keys() -> None:
    source = parse(b"a: 1\nb:\n  - x\n  - {y: z}\n", "t.yaml").source
    assert source.place(("a",)) == (1, 4)
    assert source.place(("a",), key=True) == (1, 1)
    assert source.place(("b", 1, "y")) == (4, 9)
    assert source.place(("b", 1, "missing", "deeper")) == (4, 5)
    assert source.line(("b", 1, "y")) == "t.yaml:4"


def test_columns_count_characters_not_bytes() -> None:
    assert parse("名: {键: 值}".encode(), "t.yaml").source.place(("名", "键")) == (1, 8)


def test_every_duplicate_key_is_told() -> None:
    assert problems("a: 1\nb: 2\na: {c: 1}\nb: 3\n") == [
        "t.yaml:3:1: the key 'a' is given twice\n  hint: first at t.yaml:1",
        "t.yaml:4:1: the key 'b' is given twice\n  hint: first at t.yaml:2",
    ]


def test_syntax_errors_have_a_place() -> None:
    assert problems("a: [1,\nb: 2\n")[0].startswith("t.yaml:3:1: not valid YAML: ")
    assert problems("a:\n\t- 1\n")[0].startswith("t.yaml:2:1: not valid YAML: found character that cannot start")


def test_tags_are_refused() -> None:
    assert problems("a: !!python/object:os.system x")[0].startswith("t.yaml:1:4: the tag 'tag:yaml.org,2002:python/")


def test_one_document_a_file() -> None:
    assert problems("a: 1\n---\nb: 2\n")[0].startswith("t.yaml:2:1: a second document begins here")


def test_complex_keys_are_refused() -> None:
    assert problems("{[a]: 1}") == ["t.yaml:1:2: a key must be a single word or number"]


def test_depth_is_bounded() -> None:
    assert problems("[" * 1000) == ["t.yaml:1:34: nested deeper than 32 levels"]


def test_an_alias_is_a_copy() -> None:
    assert values("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}
    assert problems("c: *x\n")[0].startswith("t.yaml:1:4: ")


def test_an_alias_bomb_is_refused() -> None:
    """A billion laughs: each line repeats the one before ten times."""
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "repeated by aliases" in problems("\n".join(lines))[0]


def test_an_alias_of_itself_is_refused() -> None:
    assert "no anchor '&a' before it" in problems("a: &a [*a]")[0]


def test_encoding_and_control_characters() -> None:
    assert problems(b"a: 1\nb: \xff\n") == ["t.yaml:2:4: the text is not UTF-8"]
    assert problems("a: 1\nb: \x00\n") == ["t.yaml:2:4: the character U+0000 is not allowed"]
    assert values("\ufeffa: 1") == {"a": 1}


def test_nothing_is_nothing() -> None:
    assert values("") is None
    assert values("# only a comment\n") is None


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    document = read(tmp_path / "x.yaml", "config/x.yaml")
    assert [str(p) for p in document.problems] == ["config/x.yaml:1:1: cannot read the file: No such file or directory"]


def test_too_large_is_refused_unread() -> None:
    assert problems(b" " * (yamlsrc.MAX_BYTES + 1)) == ["t.yaml:1:1: the file is larger than 8 MB"]


def test_hints() -> None:
    assert did_you_mean("enque", ["enqueue", "play"]) == "did you mean 'enqueue'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) == ""


def test_problems_sort_by_place() -> None:
    late, early = Problem("b", 10, 1, "x"), Problem("b", 9, 1, "y")
    assert sorted([late, early]) == [early, late]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_document_or_problems(data: bytes) -> None:
    parse(data, "t.yaml")


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{},&*!|>#%@`'\"\\ \n\t01é", max_size=120))
def test_any_text_gives_a_document_or_problems(text: str) -> None:
    document = parse(text.encode(), "t.yaml")
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1
