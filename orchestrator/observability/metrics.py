"""Every metric of the product, in one place; the only place that names them.

Names end in their unit; labels are closed sets or names from the workspace, never a customer.
Roles increment these objects and serve ``exposition()`` at ``/metrics`` of their own web server;
a role without one calls ``serve``.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SHORT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
"""Buckets for what takes milliseconds when all is well."""

registry: Final = CollectorRegistry()
ProcessCollector(registry=registry)
GCCollector(registry=registry)

# -------------------------------------------------------------------------------- stream app

inputs = Counter(
    "orchestrator_inputs",
    "Inputs applied, by what they were: record, timer, sweep.",
    ["stage", "kind"],
    registry=registry,
)
duplicates = Counter(
    "orchestrator_duplicate_events", "Events that had been seen before.", registry=registry
)
decisions = Counter(
    "orchestrator_decisions",
    "Decisions made; `nothing` and every non-send has a reason.",
    ["journey", "outcome", "reason"],
    registry=registry,
)
actions = Counter(
    "orchestrator_actions", "Actions emitted.", ["channel", "kind"], registry=registry
)
dead_letters = Counter(
    "orchestrator_dead_letters",
    "Inputs that can never be handled, by role or stage and cause.",
    ["role", "cause"],
    registry=registry,
)
transaction_seconds = Histogram(
    "orchestrator_transaction_seconds",
    "From the start of a checkpoint to its commit.",
    ["stage"],
    buckets=SHORT_S,
    registry=registry,
)
event_to_action_seconds = Histogram(
    "orchestrator_event_to_action_seconds",
    "From an event's append to the commit of what it caused.",
    buckets=SHORT_S,
    registry=registry,
)
timer_lateness_seconds = Histogram(
    "orchestrator_timer_lateness_seconds",
    "From a timer's due instant to its firing, by the worker's clock.",
    buckets=(*SHORT_S, 600, 3600),
    registry=registry,
)
partition_lag = Gauge(
    "orchestrator_partition_lag_records",
    "Records that a partition has not applied yet.",
    ["stage", "partition"],
    registry=registry,
)
partition_state = Gauge(
    "orchestrator_partition_state",
    "1 for the state that a partition is in: opening, running, paused, held.",
    ["stage", "partition", "state"],
    registry=registry,
)
recovery_records = Gauge(
    "orchestrator_recovery_remaining_records",
    "Changelog records still to be replayed before a partition runs.",
    ["stage", "partition"],
    registry=registry,
)

# ------------------------------------------------------------------------------------ edges

received = Counter(
    "orchestrator_received",
    "Inputs of connectors, by what became of them: accepted, refused, dead_letter.",
    ["source", "result"],
    registry=registry,
)
deliveries = Counter(
    "orchestrator_deliveries",
    "Actions that a sink has finished: sent, dropped, failed, unknown.",
    ["channel", "result"],
    registry=registry,
)
send_seconds = Histogram(
    "orchestrator_send_seconds",
    "One call of a provider.",
    ["channel"],
    buckets=SHORT_S,
    registry=registry,
)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format; its type is ``CONTENT_TYPE``."""
    return generate_latest(registry)


def serve(port: int, host: str = "127.0.0.1") -> int:
    """Serve ``/metrics`` from a thread of its own; return the port (for port 0: which one)."""
    server, _ = start_http_server(port, host, registry)
    return int(server.server_port)
