"""What connectors count. Labels are closed words and names of sources."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from orchestrator.observability.metrics import SHORT_S

received = Counter(
    "orchestrator_received",
    "Inputs of connectors, by what became of them: accepted, duplicate, refused, dead_letter, unavailable.",
    ["source", "result"],
)
refused = Counter(
    "orchestrator_refused", "Inputs that were refused, by cause.", ["source", "cause"]
)
request_seconds = Histogram(
    "orchestrator_collect_request_seconds",
    "One request to the collector, acknowledgement by Kafka included.",
    ["route", "status"],
    buckets=SHORT_S,
)
in_flight_bytes = Gauge(
    "orchestrator_collect_in_flight_bytes", "Bodies of requests that are not answered yet."
)


@cache  # a look-up by labels costs more than counting does; there are few sources and routes
def accepted(source: str) -> Counter:
    """Return the counter of what a source sent and Kafka took."""
    return received.labels(source, "accepted")


@cache
def seconds(route: str, status: int) -> Histogram:
    """Return the histogram of one route's answers with one status."""
    return request_seconds.labels(route, str(status))


connect_skipped = Counter(
    "orchestrator_connect_skipped",
    "Records of a topic in which no mapping saw an event: no `if` held, or tombstones.",
    ["topic"],
)
connect_lag_records = Gauge(
    "orchestrator_connect_lag_records",
    "Records of a topic that connect has not read yet.",
    ["topic", "partition"],
)
connect_waiting = Gauge(
    "orchestrator_connect_waiting_partitions",
    "Partitions of a topic that wait for a schema, the catalog or Kafka.",
    ["topic"],
)
