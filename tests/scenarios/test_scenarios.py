"""Every scenario gives exactly its events: flows, queues and router together, over virtual time."""

from pathlib import Path

import pytest

from tests.scenarios.stage import events_of, read_scenario

SCENARIOS = sorted(Path(__file__).parent.glob("*.yaml"))


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = read_scenario(path)
    assert events_of(scenario) == scenario.events


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_gives_the_same_events_again(path: Path) -> None:
    scenario = read_scenario(path)
    assert events_of(scenario) == events_of(scenario)
