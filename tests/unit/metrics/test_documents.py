"""What is written about metrics names only metrics that there are, with labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.reference import events_page, metrics_page
from metrics.names import ALL, Kind, Metric

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "metrics" / "grafana" / "callwright.json"
ALERTS = ROOT / "metrics" / "alerts" / "callwright.yaml"


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules()]


def series() -> dict[str, Metric]:
    """Every name that a query may use."""
    found: dict[str, Metric] = {}
    for metric in ALL:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        found |= {metric.name + suffix: metric for suffix in suffixes}
    return found


@pytest.mark.parametrize("expression", expressions())
def test_queries_use_what_is_there(expression: str) -> None:
    """Names, the labels they are selected by, labels summed by, bucket bounds, and matching brackets."""
    known = series()
    names = re.findall(r"\b(callwright_\w+)", expression)
    labels: set[str] = {"job", "le"}
    for name in names:
        assert name in known, name
        labels |= set(known[name].labels)
    for selected in re.findall(r"(\w+)\{([^}]*)\}", expression):
        own = set(known[selected[0]].labels) | {"le"} if selected[0] in known else {"job"}
        assert set(re.findall(r"(\w+)\s*=", selected[1])) <= own
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(grouped.replace(" ", "").split(",")) <= labels
    for bound in re.findall(r'le="([^"]*)"', expression):
        assert float(bound) in known[names[0]].buckets
        assert repr(float(bound)) == bound
    assert all(expression.count(a) == expression.count(b) for a, b in ("()", "{}", "[]"))
    assert "_total" not in re.sub(r"(rate|increase)\(callwright_\w+", "", expression), "a counter is shown as a rate"


def test_alerts_tell_people_what_to_do() -> None:
    """Each has a name of ours, a severity and a sentence."""
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 8
    for rule in rules():
        assert rule["alert"].startswith("Callwright")
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_dashboard_has_no_overlaps_and_one_data_source() -> None:
    """Panels have their own ids and places; the data source is the provisioned one."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    provisioned = yaml.safe_load(
        (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    uids = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert uids == {provisioned["datasources"][0]["uid"]}


@pytest.mark.parametrize(("name", "expected"), [("metrics.md", metrics_page()), ("events.md", events_page())])
def test_reference_pages_are_up_to_date(name: str, expected: str) -> None:
    """When this fails: python -m app.reference"""
    assert (ROOT / "docs" / name).read_text() == expected
