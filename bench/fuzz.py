"""Mutated messages against a running hotline: `python -m bench.fuzz --messages 200000 --seed 1`.

Over UDP and TCP, as a trunk (every message reaches the parser and beyond) and as a stranger (the defence first), while
a healthy peer asks ten times a second. Prints one JSON line; exit status 1 when there was a traceback, an unanswered
healthy question, or memory that grew by 20 MB once transactions live as long as they do.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bench.measure import usage
from bench.mutation import messages
from tests.support.attacker import attacker
from tests.support.site import Site, serving

PATIENCE = 2.0
ASK_EVERY = 0.1
GROWTH_KB = 20_000
LIFE = 33.0
"""Seconds until the transactions of the first messages are gone: memory is steady from then on."""
STRANGER = "127.0.0.77"


@dataclass(slots=True)
class Healthy:
    """A well-behaved trunk that asks and wants answers."""

    site: Site
    waits: list[float] = field(default_factory=list)
    missed: int = 0
    over: bool = False

    def run(self) -> None:
        with attacker(self.site.udp, "127.0.0.1") as it:
            while not self.over:
                begun = time.monotonic()
                answer = it.ask(it.request("OPTIONS"), PATIENCE)
                if answer is None:
                    self.missed += 1
                else:
                    self.waits.append(time.monotonic() - begun)
                time.sleep(ASK_EVERY)


@dataclass(slots=True)
class Stream:
    """A TCP connection that is opened again whenever the server has had enough of us."""

    target: tuple[str, int]
    sock: socket.socket | None = None
    opened: int = 0

    def send(self, data: bytes) -> None:
        try:
            if self.sock is None:
                self.sock = socket.create_connection(self.target, 2.0)
                self.sock.setblocking(False)
                self.opened += 1
            self.sock.sendall(data)
            while self.sock.recv(65_536):
                pass
            self.close()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def fuzz(site: Site, count: int, seed: int, rate: float) -> dict[str, Any]:
    """Three of four messages over UDP as a trunk, the others over TCP, or as a stranger, in turn."""
    healthy = Healthy(site)
    asking = threading.Thread(target=healthy.run)
    asking.start()
    stream, memory, begin = Stream(site.tcp), {"start": _memory(site)}, time.monotonic()
    with attacker(site.udp, "127.0.0.1") as trunk, attacker(site.udp, STRANGER) as stranger:
        for n, data in enumerate(islice(messages(seed, trunk.host, trunk.port), count)):
            if n % 4 < 3:
                trunk.send(data)
            elif n % 8 == 3:
                stream.send(data)
            else:
                stranger.send(data)
            while n / rate > time.monotonic() - begin:
                time.sleep(0.002)
            if "steady" not in memory and time.monotonic() - begin > LIFE:
                memory["steady"] = _memory(site)
    took = time.monotonic() - begin
    stream.close()
    memory["end"] = _memory(site)
    healthy.over = True
    asking.join()
    return {
        "messages": count,
        "seed": seed,
        "per_second": round(count / took, 1),
        "tcp_connections": stream.opened,
        "healthy_asked": len(healthy.waits) + healthy.missed,
        "healthy_missed": healthy.missed,
        "healthy_worst_ms": round(max(healthy.waits, default=0.0) * 1000, 1),
        "memory_kb": memory,
        "growth_kb": memory["end"] - memory.get("steady", memory["start"]),
        "faults": faults(site),
    }


def faults(site: Site) -> list[str]:
    """Lines of the log that nobody should ever see."""
    lines = list(site.output)
    with contextlib.suppress(FileNotFoundError):
        lines += (site.folder / "var" / "log" / "callwright.log").read_text(errors="replace").splitlines()
    return [line[:500] for line in lines if "Traceback" in line or '"critical"' in line or '"level": "error"' in line]


def _memory(site: Site) -> int:
    return usage(site.process.pid).pss_kb["app.control"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1500.0, help="messages a second at most")
    options = parser.parse_args()

    def strangers_outside(config: dict[str, Any]) -> None:
        config["callwright"]["sip"]["defence"] = {"never_block": []}
        config["trunks"]["trunks"] = {"operator": {"networks": ["127.0.0.1/32"], "max_calls": 5000}}

    with serving(strangers_outside) as site:
        result = fuzz(site, options.messages, options.seed, options.rate)
    sys.stdout.write(json.dumps(result) + "\n")
    return int(bool(result["faults"] or result["healthy_missed"] or result["growth_kb"] > GROWTH_KB))


if __name__ == "__main__":
    sys.exit(main())
