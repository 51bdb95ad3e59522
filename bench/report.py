"""How a figure is told: one JSON line."""

import json
import math
import sys
from dataclasses import dataclass, field
from typing import Any

from bench.stats import median


@dataclass(slots=True)
class Figure:
    """`value` is the median over the runs that count; `runs` has every one, the failed too."""

    name: str
    unit: str
    target: float
    better: str
    """higher | lower"""
    conditions: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    value: float = math.nan

    def settle(self, key: str) -> "Figure":
        """Take the median of `key` over the runs as the value."""
        self.value = median([run[key] for run in self.runs])
        return self

    @property
    def reached(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    def tell(self) -> None:
        line = {
            "figure": self.name,
            "value": None if math.isnan(self.value) else round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "better": self.better,
            "reached": self.reached,
            "conditions": self.conditions,
            "runs": self.runs,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def progress(text: str) -> None:
    """For whoever waits; figures alone go to stdout."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
