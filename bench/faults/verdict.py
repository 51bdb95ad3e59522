"""What a round found, and how it is told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.stats import percentile

AUDITS = (
    *("setup", "fault", "audio", "answer", "calls", "place", "clock"),
    *("balance", "tables", "recordings", "leaks", "stop"),
)
"""What a problem may belong to. fault: what those who see it happen must be told. place: queued callers and menus are
where they were. clock: how long things took, and when."""


@dataclass(slots=True)
class Round:
    """One injection. gaps: the longest silence of each bridged far end, ms; lost: their packets."""

    fault: str
    number: int
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(one of AUDITS, what is wrong)"""
    gaps: list[float] = field(default_factory=list)
    lost: int = 0
    answered_after: float | None = None
    """Seconds from the INVITE of that moment to its 200."""
    bridged: int = 0
    skipped: str = ""
    """Why it was not run."""

    def wrong(self, audit: str, *texts: str) -> None:
        assert audit in AUDITS
        self.problems += [(audit, text) for text in texts]

    @property
    def ok(self) -> bool:
        return not self.problems and not self.skipped


def line(rounds: Sequence[Round]) -> dict[str, object]:
    """All rounds of one fault as JSON."""
    return {
        "fault": rounds[0].fault,
        "rounds": sum(1 for each in rounds if not each.skipped),
        "ok": all(each.ok for each in rounds),
        "skipped": next((each.skipped for each in rounds if each.skipped), ""),
        **_figures(rounds),
        "problems": [[each.number, audit, text] for each in rounds for audit, text in each.problems],
    }


def _figures(rounds: Sequence[Round]) -> dict[str, object]:
    gaps = [gap for each in rounds for gap in each.gaps]
    answers = [each.answered_after for each in rounds if not each.skipped]
    never = any(answer is None for answer in answers)
    return {
        "bridged": sum(each.bridged for each in rounds),
        "gap_ms": {"p50": percentile(gaps, 50), "max": max(gaps)} if gaps else {},
        "lost_packets": sum(each.lost for each in rounds),
        "answered_after_s": None if never or not answers else round(max(a for a in answers if a is not None), 3),
    }


def tell(rounds: Sequence[Round]) -> str:
    return json.dumps(line(rounds), ensure_ascii=False)


def table(told: Sequence[Sequence[Round]], console: Console) -> None:
    """One row a fault, then what was wrong, in words."""
    heads = ("fault", "rounds", "gap p50/max ms", "lost", "answers after s", "events", "recordings", "leaks", "verdict")
    shown = Table(*heads, box=None)
    for rounds in told:
        shown.add_row(*_row(rounds))
    console.print(shown)
    for rounds in told:
        for each in rounds:
            for audit, text in each.problems:
                console.print(f"{each.fault} {each.number}, {audit}: {text}", highlight=False, markup=False)


def _row(rounds: Sequence[Round]) -> tuple[str, ...]:
    figures = line(rounds)
    if figures["skipped"]:
        return (rounds[0].fault, "0", *("",) * 6, f"not run: {figures['skipped']}")
    wrong = {audit for each in rounds for audit, _ in each.problems}
    gaps = figures["gap_ms"]
    assert isinstance(gaps, dict)
    after = figures["answered_after_s"]
    return (
        rounds[0].fault,
        str(figures["rounds"]),
        f"{gaps['p50']:.0f} / {gaps['max']:.0f}" if gaps else "",
        str(figures["lost_packets"]),
        "never" if after is None else str(after),
        "wrong" if wrong & {"balance", "tables"} else "ok",
        "wrong" if "recordings" in wrong else "ok",
        "yes" if "leaks" in wrong else "none",
        "ok" if figures["ok"] else "FAILED: " + ", ".join(audit for audit in AUDITS if audit in wrong),
    )
