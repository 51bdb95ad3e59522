"""A running hotline that listens on every transport, IPv4 and IPv6, with an authority of its own."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.authority import Authority
from tests.support.handset import Handset
from tests.support.site import Site, serving

FLOW = """
title: straight to the queue
start: open
nodes:
  open:
    answer:
    next: wait
  wait:
    enqueue: billing
    otherwise: hangup
"""
NAME = "hotline.example"
AGENTS = {"anna": "8001", "ben": "8002"}


class SecureSite:
    """A site with all transports. `at`: (transport, IP version) -> address."""

    def __init__(self, site: Site, authority: Authority) -> None:
        self.site = site
        self.authority = authority
        self.at: dict[tuple[str, int], tuple[str, int]] = {}
        for text in site.listening:
            transport, _, address = text.partition(":")
            host, _, port = address.rpartition(":")
            self.at[transport, 6 if "[" in host else 4] = (host.strip("[]"), int(port))

    def phone(self, transport: str, agent: str, version: int = 4, **more: Any) -> Handset:
        context = self.authority.client() if transport in ("tls", "wss") else None
        server = self.at[transport, version]
        return Handset(transport, server, AGENTS[agent], f"secret-{agent}", context=context, name=NAME, **more)


@contextlib.contextmanager
def secure_site(core: int | None = None) -> Iterator[SecureSite]:
    folder = Path(tempfile.mkdtemp(prefix="cw-ca-"))
    authority = Authority(folder)
    pair = authority.issue("server", NAME)

    def edit(config: dict[str, Any]) -> None:
        both = [f"{transport}:{host}:0" for transport in ("tcp", "tls", "ws", "wss") for host in ("127.0.0.1", "[::1]")]
        config["callwright"]["sip"] |= {
            "listen": ["udp:127.0.0.1:0", "udp:[::1]:0", *both],
            "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        }
        config["callwright"]["numbers"] = {"1001": "main"}
        config["agents"]["agents"] = {
            name: {"display": name, "user": user, "password": f"secret-{name}", "skills": {"billing": 5}}
            for name, user in AGENTS.items()
        }
        for queue in config["queues"]["queues"].values():
            queue |= {"wrap_up": 0, "announce": {"first": None, "every": 0}}

    def prepare(site: Path) -> None:
        (site / "ivr_flows").mkdir()
        (site / "ivr_flows" / "main.yaml").write_text(FLOW)

    try:
        with serving(edit, prepare=prepare, core=core) as site:
            yield SecureSite(site, authority)
    finally:
        shutil.rmtree(folder)
