"""Metrics: Prometheus' conventions, and that every name is really filled by somebody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.observability import metrics
from orchestrator.sinks import metrics as sinks
from orchestrator.sources import metrics as sources

CODE = Path(metrics.__file__).parent.parent
PERSONAL = {"customer", "customer_id", "address", "email", "identity", "event_id", "action_id"}
UNITS = {"seconds", "records", "bytes"}
DEFINED = [
    (module, name)
    for module in (metrics, sinks, sources)
    for name, value in vars(module).items()
    if isinstance(value, MetricWrapperBase | metrics.Read)
]


def ours() -> list:
    return [family for family in REGISTRY.collect() if family.name.startswith("orchestrator_")]


def test_no_label_names_a_person():
    """A label per customer is both a leak and the end of any Prometheus."""
    metrics.decisions.labels("j", "sent", "").inc()
    metrics.actions.labels("email", "send").inc()
    for family in ours():
        for sample in family.samples:
            assert not PERSONAL & sample.labels.keys(), family.name


def test_everything_is_explained_and_named_alike():
    """Times in seconds, sizes in bytes; a histogram ends in its unit."""
    for family in ours():
        assert family.documentation
        if family.type == "histogram":
            assert family.name.rpartition("_")[2] in UNITS, family.name


@pytest.mark.parametrize(("module", "name"), DEFINED, ids=[name for _, name in DEFINED])
def test_what_is_defined_is_filled(module, name):
    """A metric that nobody increments would sit in a dashboard as a reassuring zero."""
    use = re.compile(rf"(metrics\.|return ){name}\b")  # a helper beside it may hand out its child
    users = [
        file
        for file in CODE.rglob("*.py")
        if use.search(file.read_text()) and "testing" not in file.parts
    ]
    assert users, f"{module.__name__}.{name} is never used"


def test_the_page_is_prometheus_text():
    metrics.actions.labels("email", "send").inc()
    names = {
        family.name for family in text_string_to_metric_families(metrics.exposition().decode())
    }
    assert {"orchestrator_actions", "process_cpu_seconds"} <= names
