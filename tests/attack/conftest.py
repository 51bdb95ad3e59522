"""One hotline for all attacks: the trunk is 127.0.0.1 alone, every other loopback address is a stranger."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers.remote import ROOT
from tests.support.site import Site, serving

QUEUE = "2003"
"""A number that queues at once."""
AGENTS = {"8001": "right-8001", "8002": "right-8002"}


def strangers_outside(config: dict[str, Any]) -> None:
    config["trunks"]["trunks"] = {"operator": {"networks": ["127.0.0.1/32"], "max_calls": 5000}}
    config["callwright"]["sip"]["defence"] = {"never_block": []}
    config["agents"]["agents"] = {
        f"agent-{user}": {"display": user, "user": user, "password": password, "skills": {"billing": 5, "zh": 5}}
        for user, password in AGENTS.items()
    }
    config["callwright"]["numbers"][QUEUE] = "attack_queue"
    for queue in config["queues"]["queues"].values():
        queue |= {"skills": {}, "ring_for": 3, "announce": {"first": None}}


def queue_flow(folder: Path) -> None:
    """The example's flows, and one that answers and queues."""
    flows = folder / "ivr_flows"
    flows.mkdir()
    for flow in (ROOT / "ivr_flows").glob("*.yaml"):
        shutil.copy(flow, flows)
    (flows / "attack_queue.yaml").write_text(
        """start: answer
nodes:
  answer:
    answer:
    next: wait
  wait:
    enqueue: billing
    otherwise: hangup
"""
    )


@pytest.fixture(scope="session")
def hotline() -> Iterator[Site]:
    with serving(strangers_outside, prepare=queue_flow) as running:
        yield running
