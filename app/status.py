"""`callwright status`: what goes on now, made in the control process and shown by the command line."""

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.settings import Site
from events.fold import LiveState
from web.page import clock, fault
from web.views import SiteNames, agents, calls, processes, queues, trunks


def site_names(site: Site) -> SiteNames:
    return SiteNames(
        name=site.main.name,
        numbers=tuple(site.main.numbers),
        queues={name: queue.display for name, queue in site.queues.items()},
        agents={name: agent.display for name, agent in site.agents.items()},
        trunks={name: trunk.max_calls for name, trunk in site.trunks.items()},
    )


def snapshot(live: LiveState, names: SiteNames, now: float) -> dict[str, Any]:
    """The control socket's answer to `status`: lists of calls, queues, agents, trunks and processes as JSON values, as
    the web API gives them; `at` is now, UTC seconds."""
    return {
        "name": names.name,
        "calls": [call.model_dump() for call in calls(live, now)],
        "queues": [queue.model_dump() for queue in queues(live, names, now)],
        "agents": [agent.model_dump() for agent in agents(live, names, now)],
        "trunks": [trunk.model_dump() for trunk in trunks(live, names)],
        "processes": [process.model_dump() for process in processes(live, now)],
        "at": now,
    }


def show(status: Mapping[str, Any], out: TextIO) -> None:
    """The same for people."""
    console = Console(file=out, highlight=False, markup=False)
    for line in _draining([process["name"] for process in status.get("processes", ()) if process["draining"]]):
        console.print(line)
    console.print(
        _table(
            f"{len(status['calls'])} calls",
            ("caller", "dialled", "state", "for", "queue or flow", "agent"),
            [
                (
                    c["caller"],
                    c["dialled"],
                    c["state"],
                    clock(c["seconds_in_state"]),
                    c["queue"] or c["flow"],
                    c["agent"] or "",
                )
                for c in status["calls"]
            ],
        )
    )
    console.print(
        _table(
            "queues",
            ("queue", "waiting", "longest", "talking", "answered", "abandoned"),
            [
                (
                    q["name"],
                    str(q["waiting"]),
                    clock(q["longest_wait"]),
                    *(str(q[k]) for k in ("talking", "answered", "abandoned")),
                )
                for q in status["queues"]
            ],
        )
    )
    console.print(
        _table(
            "agents",
            ("agent", "name", "state", "reason", "for"),
            [
                (a["name"], a["display"], a["state"], a["reason"], clock(a["seconds_in_state"]))
                for a in status["agents"]
            ],
        )
    )
    console.print(
        _table(
            "trunks",
            ("trunk", "state", "in", "out", "limit", "last fault"),
            [
                (
                    t["name"],
                    t["state"],
                    str(t["incoming"]),
                    str(t["outgoing"]),
                    "" if t["limit"] is None else str(t["limit"]),
                    fault(t["fault"], t["fault_at"], status["at"], "ago"),
                )
                for t in status["trunks"]
            ],
        )
    )


def _draining(names: list[str]) -> Iterator[str]:
    if "control" in names:
        yield "Draining: no new calls; the hotline ends with its last one."
    if medias := [name for name in names if name != "control"]:
        yield f"Draining after an upgrade, each until its last call: {', '.join(medias)}."


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(*heads, title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    return table


def _printable(text: str) -> str:
    """A caller's number must not drive the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
