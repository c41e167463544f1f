"""What is watched exists: every metric, label and runbook entry that an alert or a dashboard names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from orchestrator.observability import metrics
from orchestrator.sinks import metrics as sinks
from orchestrator.sources import metrics as sources

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RUNBOOK = (DEPLOY / "README.md").read_text()
OF_THE_SCRAPE = {"instance", "job", "le"}
"""Labels that Prometheus adds."""


def known() -> dict[str, set[str]]:
    """Series -> its labels, as the code defines them."""
    found: dict[str, set[str]] = {}
    for module in (metrics, sinks, sources):
        for value in vars(module).values():
            match value:
                case metrics.Read(name, _, labels):
                    # A counter gains `_total`; which of both it is, the reader decides.
                    found[name] = found[f"{name}_total"] = set(labels)
                case MetricWrapperBase():
                    for suffix in _suffixes(value):
                        found[f"{value._name}{suffix}"] = set(value._labelnames)
    return found


def _suffixes(metric: MetricWrapperBase) -> tuple[str, ...]:
    return {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[
        metric._type
    ]


def panels(dashboard: Path) -> list[dict]:
    return [
        panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"
    ]


QUERIES = [(rule["alert"], rule["expr"]) for rule in ALERTS] + [
    (panel["title"], target["expr"].replace("$__rate_interval", "5m"))
    for dashboard in DASHBOARDS
    for panel in panels(dashboard)
    for target in panel["targets"]
]


def parts(node: object) -> list[object]:
    """The expression and everything in it."""
    below = [
        getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")
    ]
    below += getattr(node, "args", None) or []
    return [node, *(part for child in below if child is not None for part in parts(child))]


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_names_what_the_code_measures(name: str, query: str):
    """It parses as Prometheus parses it; its metrics exist, with the labels that it asks for."""
    tree = parts(promql_parser.parse(query))
    selectors = [part for part in tree if isinstance(part, promql_parser.VectorSelector)]
    assert selectors, query
    series = known()
    labels: set[str] = set()
    for selector in selectors:
        if selector.name.startswith("orchestrator_"):
            assert selector.name in series, f"{name}: nobody measures {selector.name}"
            mine = series[selector.name] | OF_THE_SCRAPE
            labels |= mine
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= mine, f"{name}: {selector.name} has no label {asked - mine}"
        else:
            assert selector.name == "up" or selector.name.startswith("process_"), selector.name
            labels |= OF_THE_SCRAPE
    for part in tree:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            grouped = set(part.modifier.labels)
            assert grouped <= labels, f"{name}: grouped by {grouped - labels}"


def test_every_metric_of_ours_is_looked_at():
    """What no alert and no panel shows is measured for nobody."""
    text = "\n".join(query for _, query in QUERIES)
    shown = set(re.findall(r"orchestrator_\w+", text))
    unseen = {
        name
        for name in known()
        if not {name, name.removesuffix("_total"), f"{name}_total"} & shown
        and not any(re.sub(r"_(bucket|sum|count)$", "", name) in one for one in shown)
    }
    assert not unseen


def anchors() -> set[str]:
    """The anchors of the runbook's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_what_to_do(rule: dict):
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "deploy/README.md"
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(), f"deploy/README.md has no heading {rule['alert']}"
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_a_summary_uses_labels_that_its_query_leaves():
    for rule in ALERTS:
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        if grouped:
            left = {label.strip() for group in grouped for label in group.split(",")}
            assert used <= left, rule["alert"]


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone():
    alerts = {rule["alert"] for rule in ALERTS}
    entries = set(re.findall(r"^### ([A-Z]\w+[a-z][A-Z]\w+)$", RUNBOOK, re.MULTILINE))
    assert entries <= alerts, entries - alerts


def test_panels_of_a_dashboard_do_not_cover_each_other():
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(dashboard.read_text())["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
