"""The runner of *.test.yaml itself."""

from pathlib import Path

from ivr.flowtests import FlowTestFailed, FlowTestPassed, run_flow_tests
from tests.unit.ivr.flows import NO_PROMPTS, OFFICE, flow

FLOWS = {
    "main": flow("{start: a, nodes: {a: {menu: a, choices: {1: b}, otherwise: hangup}, b: {play: b, next: hangup}}}"),
    "round": flow("{start: a, nodes: {a: {goto: trip}}}", "round"),
    "trip": flow("{start: a, nodes: {a: {goto: round}}}", "trip"),
}


def results(folder: Path, text: str) -> list[str]:
    (folder / "main.test.yaml").write_text(text)
    found = run_flow_tests(folder, FLOWS, NO_PROMPTS, {"office": OFFICE})
    return [f"{r.file} {r.name}" if isinstance(r, FlowTestPassed) else str(r).replace(folder.name, "F") for r in found]


def test_times_are_compared_only_where_they_are_written(tmp_path: Path) -> None:
    text = """
flow: main
tests:
  - {name: bare, press: {a: 1}, expect: [answer, play en/a, play en/b, hangup]}
  - {name: timed, press: {1.5: 1}, expect: [answer, play en/a, 001.5 play en/b, 005.5 hangup]}
"""
    assert results(tmp_path, text) == ["main.test.yaml bare", "main.test.yaml timed"]


def test_a_failure_shows_both_lists(tmp_path: Path) -> None:
    text = "flow: main\ntests:\n  - {name: x, hang_up: 2, expect: [answer]}\n"
    assert results(tmp_path, text) == [
        "F/main.test.yaml:3:12: 'x' failed\n  expected:\n    answer\n  but heard:\n    000.0 answer\n"
        "    000.0 play en/a\n    002.0 caller hangs up"
    ]


def test_a_wrong_attribute_is_told(tmp_path: Path) -> None:
    heard = "[answer, play en/a, caller hangs up]"
    text = f"flow: main\ntests:\n  - {{name: x, hang_up: 0.5, expect: {heard}, attributes: {{y: z}}}}\n"
    assert results(tmp_path, text) == ["F/main.test.yaml:3:91: attribute 'y' is '', not 'z'"]


def test_a_circle_through_two_flows_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "main.test.yaml").write_text("flow: round\ntests:\n  - {name: x, expect: []}\n")
    (found,) = run_flow_tests(tmp_path, FLOWS, NO_PROMPTS, {})
    assert isinstance(found, FlowTestFailed)
    assert "without coming to an end" in str(found)
