"""docs/rfc.md: every test that it names is there, every RFC that we speak of to be done has its row, in order."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NOTHING = "–"
PROMISED = [3261, 3262, 3264, 3311, 3323, 3325, 3326, 3515, 3550, 3581, 3711, 3891, 4028, 4475, 4568, 4733, 5118]
PROMISED += [5626, 6026, 6665, 7118, 7616, 8760, 8866]


def rows() -> list[list[str]]:
    """Cells of each row: RFC, what, done, shown by."""
    lines = (ROOT / "docs" / "rfc.md").read_text().splitlines()
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    assert found[0] == ["RFC", "what", "done", "shown by"]
    return found[1:]


def number(cell: str) -> int:
    found = re.search(r"\d{4}", cell)
    assert found is not None, cell
    return int(found.group())


def named() -> list[str]:
    return sorted({test.strip() for row in rows() for test in row[3].split(",")} - {NOTHING})


@pytest.mark.parametrize("test", named())
def test_a_named_test_is_there(test: str) -> None:
    """`unit/sip/test_parse.py`, or `…::test_name` for one of its functions."""
    path, _, function = test.partition("::")
    source = (ROOT / "tests" / path).read_text()
    tests = {
        node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in tests if function else any(name.startswith("test_") for name in tests)


def test_rows_are_in_order_and_linked_once() -> None:
    numbers = [number(row[0]) for row in rows()]
    assert numbers == sorted(numbers)
    links = re.findall(
        r"\[(\d{4})\]\(https://www\.rfc-editor\.org/rfc/rfc(\d{4})\)", (ROOT / "docs/rfc.md").read_text()
    )
    assert all(text == target for text, target in links)
    assert {int(text) for text, _ in links} >= set(numbers)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_what_is_done_is_shown_and_what_is_not_is_said(row: list[str]) -> None:
    """Only a row that says `not yet` or `no` may name no test."""
    assert len(row) == 4
    assert all(row)
    if row[3] == NOTHING:
        assert re.match(r"not yet|no\b", row[2])


@pytest.mark.parametrize("rfc", PROMISED)
def test_no_rfc_of_the_design_is_passed_over(rfc: int) -> None:
    assert any(str(rfc) in row[0] for row in rows())
