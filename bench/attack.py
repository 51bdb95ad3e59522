"""Attacks of full length on a running hotline: `python -m bench.attack`. One JSON line each; exit status 1 when one got
anywhere.

brute    1 000 passwords for an agent who is registered, from the same address and from elsewhere.
flood    2 000 INVITEs a second from 50 addresses for 30 s, while an agent registers and a trunk calls.
timing   how long answers to known and to unknown users take.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from bench import wire
from bench.measure import usage
from bench.stats import milliseconds
from tests.attack.conftest import AGENTS, strangers_outside
from tests.support.attacker import DOMAIN, Attacker, attacker, brute_force, flood
from tests.support.site import Site, serving

GROWTH_KB = 20_000
WITHIN = 1.0


def brute(site: Site) -> dict[str, Any]:
    with attacker(site.udp, "127.0.0.21") as neighbour, attacker(site.udp, "127.0.0.22") as elsewhere:
        neighbour.register("8001", AGENTS["8001"])
        tries = brute_force(site.udp, "127.0.0.21", "8001", 1000)
        same = neighbour.register("8001", AGENTS["8001"]) == [401, 200]
        other = elsewhere.register("8001", AGENTS["8001"]) == [401, 200]
    return {"answered_tries": tries, "agent_same_address": same, "agent_elsewhere": other,
            "ok": tries < 20 and same and other}  # fmt: skip


def floods(site: Site, rate: float = 2000.0, seconds: float = 30.0) -> dict[str, Any]:
    before, waits, missed = usage(site.process.pid), [], 0
    sources = [f"127.0.2.{n}" for n in range(1, 51)]
    sent: list[int] = []
    attack = threading.Thread(target=lambda: sent.append(flood(site.udp, sources, rate, seconds).sent))
    with attacker(site.udp, "127.0.0.61") as phone, attacker(site.udp, "127.0.0.1") as trunk:
        attack.start()
        while attack.is_alive():
            begun = time.monotonic()
            registered = phone.register("8001", AGENTS["8001"], WITHIN) == [401, 200]
            answer = trunk.ask(trunk.request("INVITE", f"sip:404@{DOMAIN}", user="139"), WITHIN)
            if registered and answer is not None and answer.status == 404:
                waits.append(time.monotonic() - begun)
            else:
                missed += 1
            time.sleep(0.1)
        attack.join()
    after = usage(site.process.pid)
    growth = after.pss_kb["app.control"] - before.pss_kb["app.control"]
    cpu = after.cpu_seconds["app.control"] - before.cpu_seconds["app.control"]
    return {"sent": sent[0], "per_second": round(sent[0] / seconds, 1), "served": len(waits), "missed": missed,
            "served_ms": milliseconds(waits), "control_cpu_share": round(cpu / seconds, 3), "growth_kb": growth,
            "ok": not missed and growth < GROWTH_KB}  # fmt: skip


def timing(site: Site, rounds: int = 300) -> dict[str, Any]:
    """Wrong passwords from a trunk's network, where tries are many: `failures` is raised for this."""
    waits: dict[str, list[float]] = {"8002": [], "7777": []}
    with attacker(site.udp, "127.0.0.1") as it:
        for _ in range(rounds):
            for user, took in waits.items():
                took.append(_wrong(it, user))
    medians = {user: statistics.median(took) * 1e6 for user, took in waits.items()}
    difference = abs(medians["8002"] - medians["7777"])
    return {"known_us": round(medians["8002"], 1), "unknown_us": round(medians["7777"], 1),
            "difference_us": round(difference, 1), "ok": difference < 0.1 * medians["8002"]}  # fmt: skip


def _wrong(it: Attacker, user: str) -> float:
    uri = f"sip:{DOMAIN}"
    challenged = it.ask(it.request("REGISTER", uri, user=user), 2.0)
    assert challenged is not None
    answer = wire.authorize(challenged.get("www-authenticate"), "REGISTER", uri, user, "wrong")
    data = it.request("REGISTER", uri, user=user, cseq=2, headers=[("Authorization", answer)])
    begun = time.perf_counter()
    assert it.ask(data, 2.0) is not None
    return time.perf_counter() - begun


def _patient(config: dict[str, Any]) -> None:
    strangers_outside(config)
    config["callwright"]["numbers"].pop("2003", None)


def _very_patient(config: dict[str, Any]) -> None:
    _patient(config)
    config["callwright"]["sip"]["defence"] = {
        "never_block": [],
        "user_failures": 10_000,
        "source_failures": 10_000,
    }


ATTACKS: dict[str, tuple[Callable[[Site], dict[str, Any]], Callable[[dict[str, Any]], None]]] = {
    "brute": (brute, _patient),
    "flood": (floods, _patient),
    "timing": (timing, _very_patient),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", nargs="*", choices=[*ATTACKS, []], default=[])
    good = True
    for name in parser.parse_args().attack or list(ATTACKS):
        attack, edit = ATTACKS[name]
        with serving(edit) as site:
            result = attack(site)
        sys.stdout.write(json.dumps({"attack": name, **result}) + "\n")
        sys.stdout.flush()
        good &= result["ok"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
