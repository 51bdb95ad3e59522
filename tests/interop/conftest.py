"""One hotline for all interop tests of a run: four agents, one for each make of phone."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.table import record
from tests.support.site import Site, serving

TRIES = 3
"""Foreign phones are real programs in real time: SIPp takes a command only between two steps of its script, baresip
now and then does not start a call on a busy machine. A case that fails is tried again; the report counts each try."""
KINDS = ("sipp", "baresip", "pjsua", "pyvoip")
WRAP_UP = 0.5


def four_agents(config: dict[str, Any]) -> None:
    """An agent named after each make of phone, all with the same skills; short wrap-up, so that tests follow on."""
    skills = {"billing": 5, "zh": 10, "en": 10}
    config["agents"]["agents"] = {
        kind: {
            "display": f"Agent {kind}",
            "user": str(8001 + n),
            "password": f"secret-{kind}",
            "skills": skills,
        }
        for n, kind in enumerate(KINDS)
    }
    for one in config["agents"]["agents"].values():
        one["pickup"] = "desk"
    for queue in config["queues"]["queues"].values():
        queue |= {"wrap_up": WRAP_UP, "ring_for": 10, "announce": {"first": 30, "every": 0}}


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with serving(four_agents) as running:
        yield running


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of each case of the matrix, for the table in the docs."""
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "case":
                record({str(value): report.passed})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("interop") is not None:
            item.add_marker(pytest.mark.flaky(reruns=TRIES - 1))
