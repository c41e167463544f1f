"""What connectors count. Labels are closed words and names of sources."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from orchestrator.observability.metrics import SHORT_S

received = Counter(
    "orchestrator_received",
    "Inputs of connectors, by what became of them: accepted, refused, dead_letter, unavailable.",
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
