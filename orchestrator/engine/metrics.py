"""What the engine tells Prometheus: read from its counters when asked, nothing in the hot path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator.engine.engine import Engine
from orchestrator.engine.ports import Snapshot
from orchestrator.engine.slots import Slot

TRANSACTION = Histogram(
    "orchestrator_transaction_seconds",
    "Time from the snapshot of a checkpoint to its end on disk.",
    ["stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


def observe_commit(slot: Slot, snapshot: Snapshot, seconds: float) -> None:
    """Note one checkpoint; the engine's ``on_commit``."""
    del snapshot
    TRANSACTION.labels(slot.id.stage).observe(seconds)


class EngineCollector(Collector):
    """Counters go on over reopened tasks: what a task counted before is kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        engine = self._engine
        yield from self._counts()
        status = GaugeMetricFamily(
            "orchestrator_partitions", "Assigned partitions.", labels=["stage", "status"]
        )
        seen = Counter((task.stage, slot.status.value) for task, slot in engine.slots.items())
        for labels, count in seen.items():
            status.add_metric(list(labels), count)
        yield status
        blocked = GaugeMetricFamily(
            "orchestrator_blocked", "Partitions that wait for something.", labels=["stage"]
        )
        queued = GaugeMetricFamily(
            "orchestrator_queued_records", "Fetched and not applied.", labels=["stage"]
        )
        swept = GaugeMetricFamily(
            "orchestrator_sweeps", "Partitions whose sweep is under way.", labels=["stage"]
        )
        cores = list(engine.running().items())
        for stage in engine.stages:
            mine = [core for task, core in cores if task.stage == stage]
            blocked.add_metric([stage], sum(core.blocked is not None for core in mine))
            queued.add_metric([stage], sum(core.queued for core in mine))
            swept.add_metric(
                [stage], sum(core.processor.catalogs.sweep is not None for core in mine)
            )
        yield from (blocked, queued, swept)
        held = GaugeMetricFamily(
            "orchestrator_stage_held", "1 = stopped after too many dead letters.", labels=["stage"]
        )
        for stage in engine.stages:
            held.add_metric([stage], int(stage in engine.held))
        yield held
        yield CounterMetricFamily(
            "orchestrator_partitions_reopened", "Opened again after a death.", engine.reopened
        )

    def _counts(self) -> Iterator[Metric]:
        inputs = CounterMetricFamily(
            "orchestrator_inputs", "Inputs applied, by kind.", labels=["stage", "kind"]
        )
        dead = CounterMetricFamily(
            "orchestrator_dead_letters", "Dead letters, by cause.", labels=["stage", "cause"]
        )
        for stage, counters in self._engine.totals().items():
            for kind in ("events", "ticks", "timers", "swept", "switches"):
                inputs.add_metric([stage, kind], getattr(counters, kind))
            for cause, count in counters.dead.items():
                dead.add_metric([stage, cause], count)
        yield inputs
        yield dead
