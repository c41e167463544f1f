"""What the stream app counts, and how every role shows what it counts.

Names begin with ``orchestrator_`` and end in their unit; labels are closed sets or names from the
workspace, never a customer. All metrics live in prometheus_client's own registry; the edges' stand
beside the edges (``sinks/metrics.py``). A role serves ``exposition()`` at ``/metrics`` of its own web
server; a role without one calls ``serve``.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SHORT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
"""Buckets for what takes milliseconds when all is well."""

# -------------------------------------------------------------------------------- stream app

inputs = Counter(
    "orchestrator_inputs",
    "Inputs applied, by what they were: record, timer, sweep.",
    ["stage", "kind"],
)
duplicates = Counter("orchestrator_duplicate_events", "Events that had been seen before.")
decisions = Counter(
    "orchestrator_decisions",
    "Decisions made; `nothing` and every non-send has a reason.",
    ["journey", "outcome", "reason"],
)
actions = Counter("orchestrator_actions", "Actions emitted.", ["channel", "kind"])
dead_letters = Counter(
    "orchestrator_dead_letters",
    "Inputs that can never be handled, by cause.",
    ["stage", "cause"],
)
transaction_seconds = Histogram(
    "orchestrator_transaction_seconds",
    "From the start of a checkpoint to its commit.",
    ["stage"],
    buckets=SHORT_S,
)
event_to_action_seconds = Histogram(
    "orchestrator_event_to_action_seconds",
    "From an event's append to the commit of what it caused.",
    buckets=SHORT_S,
)
timer_lateness_seconds = Histogram(
    "orchestrator_timer_lateness_seconds",
    "From a timer's due instant to its firing, by the worker's clock.",
    buckets=(*SHORT_S, 600, 3600),
)
partition_lag = Gauge(
    "orchestrator_partition_lag_records",
    "Records that a partition has not applied yet.",
    ["stage", "partition"],
)
partition_state = Gauge(
    "orchestrator_partition_state",
    "1 for the state that a partition is in: opening, running, paused, held.",
    ["stage", "partition", "state"],
)
recovery_records = Gauge(
    "orchestrator_recovery_remaining_records",
    "Changelog records still to be replayed before a partition runs.",
    ["stage", "partition"],
)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format; its type is ``CONTENT_TYPE``."""
    return generate_latest(REGISTRY)


def serve(port: int, host: str = "127.0.0.1") -> int:
    """Serve ``/metrics`` from a thread of its own; return the port (for port 0: which one)."""
    server, _ = start_http_server(port, host)
    return int(server.server_port)
