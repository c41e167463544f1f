"""Everything that the roles measure, and how a role shows it.

Names begin with ``orchestrator_`` and end in their unit (Prometheus adds ``_total`` to counters); labels
are closed sets or names from the workspace, never a customer. The stream app's stand here and are
filled by ``engine/metrics.py``: what it *did* is counted when its transaction has committed, once for
each transaction; what it *is* is read when Prometheus asks. The edges' own stand beside the edges
(``sinks/metrics.py``, ``sources/metrics.py``). ``pages.py`` serves them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SHORT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
"""Buckets for what takes milliseconds when all is well."""
LATE_S: Final = (*SHORT_S, 600, 3600)
"""The same where an outage is part of the figure."""
RECORDS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

# ------------------------------------------------------------------------------- every role

dead_letters = Counter(
    "orchestrator_dead_letters",
    "Inputs that can never be handled, by role (a stage, collect, deliver-CHANNEL) and cause.",
    ["role", "cause"],
)
disk_free_bytes = Gauge(
    "orchestrator_disk_free_bytes", "Room left where a role keeps its local state.", ["role"]
)

# ------------------------------------------------- stream app: counted when it has committed

decisions = Counter(
    "orchestrator_decisions",
    "Decisions: what was sent, deferred, suppressed, ... and every non-send's reason.",
    ["journey", "outcome", "reason"],
)
actions = Counter(
    "orchestrator_actions",
    "Actions that left for a channel, by kind: send, cancel.",
    ["channel", "kind"],
)
merges = Counter(
    "orchestrator_merges",
    "Two customers turned out to be one: found by identify, or by decide where a loser had gone before. "
    "What guards refuse is a dead letter: blocked_identity, known_customers, join_limit.",
    ["stage"],
)
event_to_action_seconds = Histogram(
    "orchestrator_event_to_action_seconds",
    "From the append of an event to the timeline to the commit of the action that it caused.",
    buckets=LATE_S,
)
timer_lateness_seconds = Histogram(
    "orchestrator_timer_lateness_seconds",
    "From a timer's due instant to the commit of what it did, of the first and the last timer of a "
    "transaction.",
    buckets=LATE_S,
)
transaction_seconds = Histogram(
    "orchestrator_transaction_seconds",
    "From the snapshot of a checkpoint to its end in Kafka and on disk.",
    ["stage"],
    buckets=SHORT_S,
)
transaction_records = Histogram(
    "orchestrator_transaction_records",
    "States and outputs of one checkpoint.",
    ["stage"],
    buckets=RECORDS,
)
transaction_bytes = Histogram(
    "orchestrator_transaction_bytes",
    "Values of the states and outputs of one checkpoint.",
    ["stage"],
    buckets=SIZES,
)


# ---------------------------------------------------- stream app: read when Prometheus asks


@dataclass(frozen=True, slots=True)
class Read:
    """A metric that nobody keeps: its values are read from where they are when they are asked for."""

    name: str
    documentation: str
    labels: tuple[str, ...]

    def gauge(self) -> GaugeMetricFamily:
        """Return an empty family for values that go up and down."""
        return GaugeMetricFamily(self.name, self.documentation, labels=self.labels)

    def counter(self) -> CounterMetricFamily:
        """Return an empty family for values that only grow."""
        return CounterMetricFamily(self.name, self.documentation, labels=self.labels)


INPUTS: Final = Read(
    "orchestrator_inputs",
    "Inputs applied: events, ticks, timers, switches and swept states.",
    ("stage", "kind"),
)
PARTITIONS: Final = Read(
    "orchestrator_partitions",
    "Assigned partitions by status: opening, suspended, running, dead.",
    ("stage", "status"),
)
BLOCKED: Final = Read(
    "orchestrator_blocked_partitions",
    "Running partitions that wait for a schema, a definition or an upgrade.",
    ("stage",),
)
HELD: Final = Read(
    "orchestrator_stage_held", "1 = stopped after too many dead letters.", ("stage",)
)
REOPENED: Final = Read(
    "orchestrator_partitions_reopened",
    "Partitions opened again after a transaction of unknown outcome or a fence.",
    (),
)
FAILED: Final = Read(
    "orchestrator_transactions_failed",
    "Checkpoints that failed: outcome unknown (settled by the next opening), or fenced by another owner.",
    ("stage", "outcome"),
)
STAGE_CPU: Final = Read(
    "orchestrator_stage_cpu_seconds",
    "CPU that a stage took: its turns of the loop, and its commits.",
    ("stage",),
)
STATES: Final = Read(
    "orchestrator_states", "States in this worker's local copies, estimated.", ("stage",)
)
STATE_BYTES: Final = Read(
    "orchestrator_state_bytes",
    "Size of these states, estimated: on disk (compressed) and in memory.",
    ("stage",),
)
HOTTEST: Final = Read(
    "orchestrator_hottest_key_share",
    "Of a partition's newest 16,000 records the share of its busiest key; the largest over the partitions.",
    ("stage",),
)
MISPLACED: Final = Read(
    "orchestrator_misplaced_keys",
    "Sampled records (one of 64) whose key belongs on another partition: a producer partitions otherwise.",
    ("stage",),
)
LAG: Final = Read(
    "orchestrator_partition_lag_records",
    "Records of the input that a running partition has not applied yet.",
    ("stage", "partition"),
)
LAG_SECONDS: Final = Read(
    "orchestrator_partition_lag_seconds",
    "How far the applied log time is behind the clock while records wait; else 0.",
    ("stage", "partition"),
)
QUEUED: Final = Read(
    "orchestrator_queued_records", "Records fetched and not applied yet.", ("stage",)
)
REPLAY_REMAINING: Final = Read(
    "orchestrator_replay_remaining_records",
    "Changelog records still to be read before an opening partition runs.",
    ("stage", "partition"),
)
REPLAYED: Final = Read(
    "orchestrator_replayed_records",
    "Changelog records read by openings; its rate is the speed of a replay.",
    ("stage",),
)
SWEEPS: Final = Read(
    "orchestrator_sweeping_partitions",
    "Partitions whose silent states are being brought to a new catalog.",
    ("stage",),
)
TICK_WAIT: Final = Read(
    "orchestrator_tick_outstanding_seconds",
    "Age of the oldest tick that was sent and not consumed; beyond 30 s time stands still.",
    ("stage",),
)
CLOCK_OFFSET: Final = Read(
    "orchestrator_clock_offset_seconds",
    "The broker's clock against this worker's, the largest over its partitions.",
    ("stage",),
)


def free_bytes(folder: Path) -> float:
    """Return the room left at ``folder``, or where it would be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return float(shutil.disk_usage(there).free)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format; its type is ``CONTENT_TYPE``."""
    return generate_latest(REGISTRY)
