"""Fills the stream app's metrics; nothing in the hot path.

What a task did is counted from the snapshot that has committed: a transaction that failed and was
done again counts once. What it is, is read from the engine when Prometheus asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator.engine.engine import Engine
from orchestrator.engine.ports import (
    ActionTally,
    DeadTally,
    DecisionTally,
    MergeTally,
    Snapshot,
    TaskId,
)
from orchestrator.engine.slots import Slot, Status
from orchestrator.engine.task import PartitionTask
from orchestrator.observability import metrics

KINDS = ("events", "ticks", "timers", "swept", "switches")


class CommitObserver:
    """The engine's ``on_commit``.

    Args:
        live: Whether log time is the time of day; only then do latencies mean anything.
        wall: Epoch seconds.
    """

    def __init__(self, *, live: bool, wall: Callable[[], float] = time.time) -> None:
        self._live = live
        self._wall = wall

    def __call__(self, slot: Slot, snapshot: Snapshot, seconds: float) -> None:
        """Note one checkpoint."""
        stage, states, outputs = slot.id.stage, snapshot.states, snapshot.outputs
        size = _size(map(_value, states)) + _size(map(_value, outputs))
        metrics.transaction_seconds.labels(stage).observe(seconds)
        metrics.transaction_records.labels(stage).observe(len(states) + len(outputs))
        metrics.transaction_bytes.labels(stage).observe(size)
        for tally, count in Counter(output.tally for output in outputs).items():
            match tally:
                case DecisionTally():
                    metrics.decisions.labels(*tally).inc(count)
                case ActionTally():
                    metrics.actions.labels(tally.channel, tally.kind).inc(count)
                case MergeTally():
                    metrics.merges.labels(stage).inc(count)
                case DeadTally():
                    metrics.dead_letters.labels(*tally).inc(count)
                case None:
                    pass
        if self._live:
            self._observe_times(snapshot)

    def _observe_times(self, snapshot: Snapshot) -> None:
        now = self._wall()
        for output in snapshot.outputs:
            if isinstance(output.tally, ActionTally) and not output.tally.timer:
                metrics.event_to_action_seconds.observe(max(0.0, now - output.timestamp / 1000))
        # The ends say enough: thousands of timers may fire in one transaction.
        for due in {min(snapshot.fired), max(snapshot.fired)} if snapshot.fired else ():
            metrics.timer_lateness_seconds.observe(max(0.0, now - due / 1000))


_value = attrgetter("value")


def _size(values: Iterable[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))  # a thousand at a time, on the engine's loop


class EngineCollector(Collector):
    """Reads the engine. Counters go on over reopened tasks: what a task counted before is kept."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._wall = wall

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        engine = self._engine
        yield from self._done()
        reopened = metrics.REOPENED.counter()
        reopened.add_metric([], engine.totals.reopened)
        yield reopened
        partitions = metrics.PARTITIONS.gauge()
        seen = Counter((task.stage, slot.status.value) for task, slot in engine.slots.items())
        for labels, number in seen.items():
            partitions.add_metric(list(labels), number)
        yield partitions
        held = metrics.HELD.gauge()
        for stage in engine.stages:
            held.add_metric([stage], int(stage in engine.held))
        yield held
        yield self._replays()
        yield from self._lags()
        yield from self._sizes()
        yield from self._by_stage()

    def _done(self) -> Iterator[Metric]:
        """What each stage did since the process began."""
        inputs, failed = metrics.INPUTS.counter(), metrics.FAILED.counter()
        cpu, replayed = metrics.STAGE_CPU.counter(), metrics.REPLAYED.counter()
        misplaced = metrics.MISPLACED.counter()
        for stage, done in self._engine.totals.now(self._engine.slots.values()).items():
            for kind in KINDS:
                inputs.add_metric([stage, kind], getattr(done.counters, kind))
            failed.add_metric([stage, "unknown"], done.unknown)
            failed.add_metric([stage, "fenced"], done.fenced)
            cpu.add_metric([stage], done.cpu)
            replayed.add_metric([stage], done.replayed)
            misplaced.add_metric([stage], done.counters.misplaced)
        yield from (inputs, failed, cpu, replayed, misplaced)

    def _replays(self) -> Metric:
        remaining = metrics.REPLAY_REMAINING.gauge()
        for task, slot in self._engine.slots.items():
            if slot.status is Status.OPENING:
                remaining.add_metric(_labels(task), slot.progress.remaining)
        return remaining

    def _lags(self) -> Iterator[Metric]:
        engine, reader = self._engine, self._engine.reader
        records, seconds = metrics.LAG.gauge(), metrics.LAG_SECONDS.gauge()
        for task, core in engine.running().items():
            end = reader.end(task) if reader is not None else None
            if end is None:
                continue  # not fetched yet: nobody has told
            lag = max(0, end - core.position)
            behind = max(0.0, self._wall() - core.log_time / 1000) if lag else 0.0
            records.add_metric(_labels(task), lag)
            if engine.config.clock == "broker":
                seconds.add_metric(_labels(task), behind)
        yield from (records, seconds)

    def _sizes(self) -> Iterator[Metric]:
        states, size = metrics.STATES.gauge(), metrics.STATE_BYTES.gauge()
        for stage in self._engine.stages:
            stores = [
                slot.store.size()
                for slot in self._engine.slots.values()
                if slot.id.stage == stage and slot.core is not None and slot.store is not None
            ]
            states.add_metric([stage], sum(count for count, _ in stores))
            size.add_metric([stage], sum(bytes_ for _, bytes_ in stores))
        yield from (states, size)

    def _by_stage(self) -> Iterator[Metric]:
        for metric, value in (
            (metrics.BLOCKED.gauge(), _blocked),
            (metrics.QUEUED.gauge(), _queued),
            (metrics.SWEEPS.gauge(), _sweeping),
            (metrics.TICK_WAIT.gauge(), _tick_wait),
            (metrics.CLOCK_OFFSET.gauge(), _clock_offset),
            (metrics.HOTTEST.gauge(), _hottest),
        ):
            self._add(metric, value)
            yield metric

    def _add(
        self, metric: GaugeMetricFamily, value: Callable[[list[PartitionTask]], float]
    ) -> None:
        running = self._engine.running()
        for stage in self._engine.stages:
            cores = [core for task, core in running.items() if task.stage == stage]
            metric.add_metric([stage], value(cores))


def _labels(task: TaskId) -> list[str]:
    return [task.stage, str(task.partition)]


def _blocked(cores: list[PartitionTask]) -> float:
    return sum(core.blocked is not None for core in cores)


def _queued(cores: list[PartitionTask]) -> float:
    return sum(core.queued for core in cores)


def _sweeping(cores: list[PartitionTask]) -> float:
    return sum(core.processor.catalogs.sweep is not None for core in cores)


def _tick_wait(cores: list[PartitionTask]) -> float:
    now = time.monotonic()
    return max((core.tick.outstanding(now, core.position) for core in cores), default=0.0)


def _hottest(cores: list[PartitionTask]) -> float:
    samples = [core.processor.sampled for core in cores if core.processor.sampled]
    return max((max(Counter(sample).values()) / len(sample) for sample in samples), default=0.0)


def _clock_offset(cores: list[PartitionTask]) -> float:
    return max((core.clock.offset for core in cores), key=abs, default=0.0) / 1000
