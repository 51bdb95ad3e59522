"""The server under load: the example site with many agents, and flows that do one thing each.

2001: answer, one second of speech, hang up.   2002: answer, a menu, key 1 queues.   2003: answer and queue at once.
2004: answer and wait where nobody works.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.measure import SERVER_CORE
from tests.support.peers.remote import ROOT
from tests.support.site import Edit, Site, serving

IVR, MENU, QUEUE, WAIT = "2001", "2002", "2003", "2004"
DOMAIN = "callwright.local"
FIRST_PORT, LAST_PORT = 10_000, 31_999
"""Below what the kernel gives to the load's own sockets."""

FLOWS = {
    "bench_ivr": """start: answer
nodes:
  answer:
    answer:
    next: english
  english:
    set: {language: en}
    next: say
  say:
    play: n52
    next: hangup
""",
    "bench_menu": """start: answer
nodes:
  answer:
    answer:
    next: english
  english:
    set: {language: en}
    next: ask
  ask:
    menu: n52
    timeout: 5
    tries: 3
    choices:
      1: wait
    otherwise: hangup
  wait:
    enqueue: bench
    otherwise: hangup
""",
    "bench_wait": """start: answer
nodes:
  answer:
    answer:
    next: wait
  wait:
    enqueue: patience
    otherwise: hangup
""",
    "bench_queue": """start: answer
nodes:
  answer:
    answer:
    next: wait
  wait:
    enqueue: bench
    otherwise: hangup
""",
}


def account(n: int) -> tuple[str, str]:
    """SIP user and password of agent number n."""
    return str(100_000 + n), f"bench-{n}"


def agent_name(n: int) -> str:
    return f"agent{n}"


def _edit(agents: int) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        main = config["callwright"]
        main["numbers"] |= {IVR: "bench_ivr", MENU: "bench_menu", QUEUE: "bench_queue", WAIT: "bench_wait"}
        main["media"] |= {"first_port": FIRST_PORT, "last_port": LAST_PORT, "rtp_timeout": 0}
        main["sip"]["max_calls"] = 20_000
        config["trunks"]["trunks"]["loopback"]["max_calls"] = 20_000
        config["skills"]["skills"]["patience"] = "Nobody has it"
        bench = config["queues"]["queues"]["bench"] = {
            "display": "Bench",
            "ring_for": 20,
            "wrap_up": 0,
            "max_wait": 300,
            "max_calls": 20_000,
            "announce": {"first": None},
            "wait_unstaffed": True,
        }
        config["queues"]["queues"]["patience"] = bench | {"skills": {"patience": 10}, "max_wait": 3600}
        for n in range(agents):
            user, password = account(n)
            config["agents"]["agents"][agent_name(n)] = {"display": f"Agent {n}", "user": user, "password": password}

    return edit


def _add_flows(folder: Path) -> None:
    flows = folder / "ivr_flows"
    flows.mkdir()
    for flow in (ROOT / "ivr_flows").glob("*.yaml"):
        shutil.copy(flow, flows)
    for name, text in FLOWS.items():
        (flows / f"{name}.yaml").write_text(text)


def hotline(
    agents: int = 0, core: int | None = SERVER_CORE, *, edit: Edit | None = None, wrapper: Sequence[str] = ()
) -> AbstractContextManager[Site]:
    """A site with so many agents, all its processes on one core. edit, wrapper: as for `serving`, after our own."""

    def both(config: dict[str, Any]) -> None:
        _edit(agents)(config)
        if edit is not None:
            edit(config)

    return serving(both, prepare=_add_flows, core=core, wrapper=wrapper)
