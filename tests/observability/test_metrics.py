"""Metrics: Prometheus' conventions, and a page that Prometheus can read."""

from __future__ import annotations

from urllib.request import urlopen

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.observability import metrics

PERSONAL = {"customer", "customer_id", "address", "email", "identity", "event_id", "action_id"}


def ours() -> list:
    return [family for family in REGISTRY.collect() if family.name.startswith("orchestrator_")]


def test_no_label_names_a_person():
    """A label per customer is both a leak and the end of any Prometheus."""
    metrics.decisions.labels("j", "sent", "").inc()
    metrics.actions.labels("email", "send").inc()
    for family in ours():
        for sample in family.samples:
            assert not PERSONAL & sample.labels.keys(), family.name


def test_times_are_in_seconds_and_everything_is_explained():
    for family in ours():
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_the_page_is_prometheus_text():
    metrics.duplicates.inc()
    names = {
        family.name for family in text_string_to_metric_families(metrics.exposition().decode())
    }
    assert {"orchestrator_duplicate_events", "process_cpu_seconds"} <= names


def test_a_role_without_a_web_server_can_serve_it():
    port = metrics.serve(0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        assert b"orchestrator_transaction_seconds" in page.read()
