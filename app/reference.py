"""docs/metrics.md and docs/events.md, written from the code: `python -m app.reference` (a test holds them equal)."""

import ast
from collections.abc import Iterator
from pathlib import Path

from metrics.names import ALL, Metric

ROOT = Path(__file__).resolve().parent.parent
METRICS_INTRO = """\
# Metrics

`GET /metrics` of the web process (config/callwright.yaml, `web`) gives these to Prometheus. All of them are a fold of
the event log ([events.md](events.md)): a restart of the web process sets no counter back, and a replay of the log gives
equal numbers. Label values come from the configuration or from closed lists; a metric has at most 500 label sets, what
goes beyond is counted under `other`. metrics/grafana has a dashboard, metrics/alerts the alerts.

This page is written by `python -m app.reference` from metrics/names.py.
"""
EVENTS_INTRO = """\
# Events

The journal (`var/journal`) holds one JSON line for each of these facts, in order, with a gapless `seq` and the time
`at` (UTC seconds since 1970). Everything that Callwright shows or counts is made from them. Read them with
`callwright events --follow`, one call with `callwright call ID`. Durations are seconds.

This page is written by `python -m app.reference` from events/types.py.
"""


def metrics_page() -> str:
    return METRICS_INTRO + "".join(map(_metric, ALL))


def _metric(metric: Metric) -> str:
    labels = f" Labels: {', '.join(f'`{label}`' for label in metric.labels)}." if metric.labels else ""
    buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    return f"\n## {metric.name}\n\n{metric.kind.capitalize()}. {metric.help}{labels}{buckets}\n"


def events_page() -> str:
    tree = ast.parse((ROOT / "events" / "types.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    events = [node for node in classes if "Event" in map(_base, node.bases)]
    kinds = [node for node in classes if "StrEnum" in map(_base, node.bases)]
    return EVENTS_INTRO + "".join(map(_event, events)) + "".join(map(_kind, kinds))


def _base(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _event(node: ast.ClassDef) -> str:
    rows = [
        f"| `{name}` | `{ast.unparse(item.annotation)}` | {text} |"
        for name, item, text in _documented(node)
        if isinstance(item, ast.AnnAssign)
    ]
    words = ast.get_docstring(node)
    table = "| field | type | |\n|---|---|---|\n" + "\n".join(row.replace(" | None` |", " or null` |") for row in rows)
    return f"\n## {node.name}\n\n" + (f"{_line(words)}\n\n" if words else "") + table + "\n"


def _kind(node: ast.ClassDef) -> str:
    rows = [
        f"- `{item.value.value}`{': ' if text else ''}{text}"
        for _, item, text in _documented(node)
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)
    ]
    words = ast.get_docstring(node)
    return f"\n## Values of {node.name}\n\n" + (f"{_line(words)}\n\n" if words else "") + "\n".join(rows) + "\n"


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, ast.stmt, str]]:
    """Each field or member with the string that stands below it."""
    for item, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        target = (
            item.target
            if isinstance(item, ast.AnnAssign)
            else item.targets[0]
            if isinstance(item, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name):
            words = after.value if isinstance(after, ast.Expr) else None
            text = words.value if isinstance(words, ast.Constant) and isinstance(words.value, str) else ""
            yield target.id, item, _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    (ROOT / "docs" / "metrics.md").write_text(metrics_page())
    (ROOT / "docs" / "events.md").write_text(events_page())


if __name__ == "__main__":
    main()
