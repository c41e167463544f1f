"""What a sink counts. Labels are closed words and names from the workspace, never a customer."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from orchestrator.observability.metrics import SHORT_S

outcomes = Counter(
    "orchestrator_deliveries",
    "Actions that came to an end in a sink: sent, dropped, failed, unknown.",
    ["channel", "outcome", "reason"],
)
unknown = Counter(
    "orchestrator_delivery_unknown",
    "Sends of which a crash or a broken call left open whether they happened: resend, give_up.",
    ["channel", "resolution"],
)
backlog = Gauge(
    "orchestrator_delivery_backlog_records",
    "Actions read and not finished.",
    ["channel", "partition"],
)
provider_held = Gauge(
    "orchestrator_provider_held",
    "1 while a channel sends nothing but probes: its provider is away, or refuses us.",
    ["channel"],
)
send_seconds = Histogram(
    "orchestrator_send_seconds",
    "One call of the provider, by its answer: accepted, rejected, again, error.",
    ["channel", "answer"],
    buckets=SHORT_S,
)
transaction_seconds = Histogram(
    "orchestrator_delivery_transaction_seconds",
    "From the start of a ledger transaction to its commit.",
    ["channel"],
    buckets=SHORT_S,
)
