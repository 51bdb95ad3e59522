"""What a tree of processes costs: CPU seconds and memory, from /proc; and the conditions of a fair measurement."""

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(_stat(int(entry.name))[1], []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def _stat(pid: int) -> tuple[float, int]:
    """CPU seconds used, and the parent."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK, int(fields[1])


def name(pid: int) -> str:
    """The module that a Python process runs, as its arguments tell; else the program."""
    arguments = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    for known in ("app.control", "engine.media.server", "events.ledger", "app.web", "app.serve"):
        if known in arguments:
            return known
    return Path(arguments[0]).name


@dataclass(frozen=True, slots=True)
class Usage:
    """By process name; those of one name are added up."""

    cpu_seconds: dict[str, float]
    pss_kb: dict[str, int]

    @property
    def cpu(self) -> float:
        return sum(self.cpu_seconds.values())

    @property
    def pss(self) -> int:
        return sum(self.pss_kb.values())


def usage(pid: int) -> Usage:
    """Of the whole tree below `pid`. PSS: memory shared by n processes counts as 1/n to each."""
    cpu: dict[str, float] = {}
    pss: dict[str, int] = {}
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            who = name(one)
            cpu[who] = cpu.get(who, 0.0) + _stat(one)[0]
            pss[who] = pss.get(who, 0) + _pss(one)
    return Usage(cpu, pss)


def descriptors(pid: int) -> dict[str, int]:
    """Open ones by process name, of the whole tree below `pid`."""
    found: dict[str, int] = {}
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            who = name(one)
            found[who] = found.get(who, 0) + len(os.listdir(PROC / str(one) / "fd"))
    return found


def _pss(pid: int) -> int:
    return _kb(pid, "Pss")


def _kb(pid: int, what: str) -> int:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    return 0


def anonymous_kb(pid: int) -> dict[str, int]:
    """Memory that is a process's own, by process name, of the whole tree below `pid`. For growth: PSS also moves with
    whoever else maps the same libraries."""
    found: dict[str, int] = {}
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            who = name(one)
            found[who] = found.get(who, 0) + _kb(one, "Anonymous")
    return found


def prepare() -> dict[str, object]:
    """Pin this process to the load's core and raise the weight of our session; returns the conditions to report."""
    cores = os.cpu_count() or 1
    if cores > LOAD_CORE:
        os.sched_setaffinity(0, {LOAD_CORE})
    raised = False
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")
        raised = True
    return {
        "cores": cores,
        "server_core": SERVER_CORE,
        "load_core": LOAD_CORE,
        "autogroup_raised": raised,
        "python": f"{platform.python_version()}, built with {platform.python_compiler()}",
        "load_average": round(os.getloadavg()[0], 2),
    }
