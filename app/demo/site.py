"""The demo's own copy of a site: the same flows, queues and agents in another folder, on ports that are free, with
times short enough that something happens while one looks."""

import itertools
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from app.plan import CannotStart, Listen, bind
from app.settings import Site, load
from engine.transport.addresses import is_wildcard
from kernel.yamlsrc import read

RING_FOR: Final = 6
WRAP_UP: Final = 4
ANNOUNCE: Final = {"first": 4, "every": 20}
PORT_STEP: Final = 10
PORT_TRIES: Final = 200
MEDIA_PORTS: Final = 2000
"""A range of its own for each demo that runs: 500 calls with two legs."""
MEDIA_FIRST: Final = (20_000, 30_001)
"""Ranges begin here; above 32768 the kernel hands out ports for others."""


@dataclass(frozen=True, slots=True)
class Desk:
    """An agent whom the demo plays."""

    name: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class DemoSite:
    folder: Path
    name: str
    domain: str
    numbers: tuple[str, ...]
    desks: tuple[Desk, ...]


def prepare(site: Path, folder: Path, agents: int | None) -> DemoSite:
    """Write the copy. agents: how many to play; more than the site has are made up after its own.

    Raises ConfigErrors, CannotStart."""
    original = load(site)
    sections = {name: _values(original.root, name) for name in ("callwright", "agents", "queues", "trunks")}
    _own_ports(original, sections["callwright"])
    sections["callwright"]["drain"] = {"within": 0}  # who ends a demo has hung up all its calls
    _lively(sections["queues"])
    desks = _staff(original, sections["agents"], agents)
    _trust_loopback(original, sections["trunks"])
    _copy(original, folder)
    for name, section in sections.items():
        text = json.dumps(section, ensure_ascii=False, indent=2)  # which is YAML too
        (folder / "config" / f"{name}.yaml").write_text(text + "\n", encoding="utf-8")
    copied = load(folder)
    return DemoSite(folder, copied.main.name, copied.main.domain, tuple(copied.main.numbers), desks)


def _values(root: Path, name: str) -> dict[str, Any]:
    """What a file of config/ holds; {} when it is not there (`load` has proved that this is allowed)."""
    value = read(root / "config" / f"{name}.yaml", name).value
    return dict(value) if isinstance(value, dict) else {}


def _copy(original: Site, folder: Path) -> None:
    (folder / "config").mkdir(parents=True)
    for path in (original.root / "config").glob("*.yaml"):
        shutil.copy(path, folder / "config")
    flows = original.root / original.main.paths.flows
    (folder / "ivr_flows").mkdir()
    for path in flows.glob("*.yaml"):
        shutil.copy(path, folder / "ivr_flows")
    (folder / "ivr_flows" / "prompts").symlink_to((flows / "prompts").resolve())


def _lively(queues: dict[str, Any]) -> None:
    for queue in queues.get("queues", {}).values():
        queue |= {"ring_for": RING_FOR, "wrap_up": WRAP_UP, "announce": ANNOUNCE, "wait_unstaffed": True}


def _staff(original: Site, section: dict[str, Any], wanted: int | None) -> tuple[Desk, ...]:
    """The agents to play, and those made up put into the section."""
    entries = section.get("agents", {})
    for entry in entries.values():
        entry.pop("wrap_up", None)
    for name, agent in original.agents.items():
        entries[name].pop("phone", None)  # nobody's telephone rings for a demo
        entries[name].pop("trunks", None)
        if agent.user is None:
            del entries[name]
    playable = {name: agent for name, agent in original.agents.items() if agent.password is not None}
    if not playable:
        raise CannotStart("config/agents.yaml has no agent with a 'password': the demo cannot play any")
    desks = [Desk(name, agent.user or "", _secret(original, name)) for name, agent in playable.items()]
    users = {agent.user for agent in original.agents.values()}
    free = (user for user in map(str, itertools.count(8001)) if user not in users)
    models = itertools.cycle([entries[name] for name in playable])
    for number in range(len(desks) + 1, (wanted or 0) + 1):
        desk = Desk(f"demo.{number}", next(free), f"demo-{number}")
        entries[desk.name] = {
            **next(models),
            "display": f"Demo {number}",
            "user": desk.user,
            "password": desk.password,
        }
        desks.append(desk)
    return tuple(desks[:wanted])


def _secret(original: Site, name: str) -> str:
    password = original.agents[name].password
    assert password is not None
    return password.get_secret_value()


def _trust_loopback(original: Site, section: dict[str, Any]) -> None:
    """The simulated callers come from 127.0.0.1 without a password."""
    for name, trunk in list(section.get("trunks", {}).items()):
        trunk.pop("outbound", None)  # nor does it register with an operator
        if not trunk.get("networks") and "inbound" not in trunk:
            del section["trunks"][name]
    here = ip_address("127.0.0.1")
    if not any(here in network for trunk in original.trunks.values() for network in trunk.networks):
        section.setdefault("trunks", {})["demo"] = {"networks": ["127.0.0.1/32"]}


# --- ports ----------------------------------------------------------------------------------------------------


def _own_ports(original: Site, main: dict[str, Any]) -> None:
    """The usual ports where they are free. Everything that a demo writes lies in its folder, its tables too."""
    listens = [Listen(at.transport, at.host, at.port) for at in original.main.sip.listen]
    if not any(at.transport == "udp" and (at.host == "127.0.0.1" or is_wildcard(at.host)) for at in listens):
        listens.append(Listen("udp", "127.0.0.1", listens[0].port))
    main["sip"]["listen"] = [str(at) for at in free_ports(listens)]
    web = original.main.web
    [http] = free_ports([Listen("tcp", web.host, web.port)])
    main["web"] = {**main.get("web", {}), "port": http.port}
    first = media_ports(original.main.media.host)
    main["media"] = {**main.get("media", {}), "first_port": first, "last_port": first + MEDIA_PORTS - 1}
    main.pop("paths", None)
    main.pop("database", None)


def free_ports(listens: Iterable[Listen]) -> list[Listen]:
    """The same addresses, all moved by the same distance: none when nobody holds them. Raises CannotStart."""
    wanted = list(listens)
    for moved in range(0, PORT_TRIES * PORT_STEP, PORT_STEP):
        found = [at._replace(port=at.port + moved) for at in wanted]
        if all(at.port <= 65_535 and _is_free(at) for at in found):
            return found
    raise CannotStart(f"no free ports near {', '.join(map(str, wanted))}")


def media_ports(host: str) -> int:
    """First of MEDIA_PORTS UDP ports that nobody holds. Raises CannotStart."""
    first, last = MEDIA_FIRST
    for start in range(first, last, MEDIA_PORTS):
        if all(_is_free(Listen("udp", host, port)) for port in range(start, start + MEDIA_PORTS)):
            return start
    raise CannotStart(f"no {MEDIA_PORTS} free UDP ports between {first} and {last} for audio")


def _is_free(listen: Listen) -> bool:
    try:
        bind(listen).close()
    except CannotStart:
        return False
    return True
