"""The product's rows: a workspace's journeys by the worker that operators run.

``ours_product`` is the opponents' job as a workspace, on their events; ``ours_example`` is the example
workspace on events that suit it. The events lie on the timeline before the worker starts, so the figure is one stage's: Avro in, seed
journey, waits, caps, quiet hours, consent and traits, Avro out, exactly once. They tell of two weeks,
and time is the log's. It commits as often as every entrant (a second; its own default is less). What
was decided is then held against the pure stages over the same events, as ``simulate`` runs them,
decision by decision, and all states against a rerun of the log (``replay --verify``), byte for byte.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import msgspec
import transcription
import workload
from confluent_kafka import Producer

from orchestrator.cli.replay import audit
from orchestrator.codec.opening import open_codec
from orchestrator.journeys import load_workspace
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision, Event
from orchestrator.testing.broker import Broker
from orchestrator.testing.pipeline import Pipeline
from orchestrator.testing.simulation import BEGINNING_MS
from orchestrator.testing.stack import Stack

ROWS = ("ours_product", "ours_example")
REST_MS = 7 * 86_400_000
"""After so long every wait and every deferred send of a log's last day has come to its end."""
LINE = 'orchestrator_inputs_total{kind="events",stage="decide"}'


class Load(NamedTuple):
    """What a row runs. ``events`` yields (key, event, log time), the same each time."""

    workspace: Path
    events: Callable[[], Iterator[tuple[bytes, Event, int]]]
    end: int
    """Log time at which nothing more is due."""


def load_of(run: Any, row: str, count: int, customers: int, zipf: float) -> Load:
    """Return what a row runs, in the size of the opponents' log."""
    if row == "ours_example":
        return Load(
            workload.EXAMPLE,
            lambda: ((k, e, e.occurred_at) for k, e in workload.events(count, customers)),
            workload.BEGIN + workload.SPAN_MS + REST_MS,
        )
    _, log, _ = run.event_log(count, customers, zipf, transcription.DAYS)
    return Load(
        transcription.WORKSPACE,
        lambda: transcription.events(log),
        transcription.begin() + transcription.DAYS * 86_400_000 + REST_MS,
    )


def drain(run: Any, broker: Broker, row: str, load: Load, count: int) -> dict[str, Any]:
    """Measure; return a row like the peers'."""
    name = f"bench-{time.time_ns()}"
    settings = {
        "app": {"id": name},
        "topics": {"prefix": name},
        "worker": {"assume_accepted": True, "checkpoint_ms": run.COMMIT_MS},
    }
    with Stack(load.workspace, clock="log", broker=broker, settings=settings) as stack:
        _preload(stack, load)
        role = stack.start("worker")
        _pin(role.process.pid, int(run.SUT_CORE))
        stack.wait_ready("worker", f"{stack.worker_url}/readyz", 120)
        samples = [(0.0, 0.0, 0.0)]
        while samples[-1][0] < count:
            cpu = run.cpu_seconds(role.process.pid)
            samples.append((applied(stack.worker_url), cpu, time.monotonic()))
            time.sleep(1)
        rss = run.peak_rss_mb(role.process.pid)
        stack.stop("worker")
        low = next(s for s in samples if s[0] >= 0.1 * count)
        high = next(s for s in samples if s[0] >= 0.9 * count)
        span = max(1.0, high[0] - low[0])
        with tempfile.TemporaryDirectory() as folder:
            found = audit(stack.settings, "decide", Path(folder))
        decided, simulated = _decided(stack), _simulated(load)
        return {
            "entrant": row,
            "events": count,
            "cpu_s_per_M": round((high[1] - low[1]) / span * 1e6, 2),
            "ev_s": round(span / max(0.01, high[2] - low[2])),
            "sut_core_share": round((high[1] - low[1]) / max(0.01, high[2] - low[2]), 2),
            "peak_rss_mb": round(rss),
            "decisions": decided.total(),
            "decisions_ok": decided == simulated and found.sound,
            "state_ok": found.sound,
            "states": found.states,
        }


def _preload(stack: Stack, load: Load) -> None:
    codec, topology = open_codec(stack.settings), Topology(stack.settings)
    timeline = topology.name("timeline")
    codec.prepare({timeline: "timeline"})
    producer = Producer(producer_config(stack.settings))
    for key, event, at in load.events():
        producer.produce(timeline, codec.encode(event, timeline), key, timestamp=at)
        while len(producer) > 50_000:
            producer.poll(0.1)
    for partition in range(topology.partitions("timeline")):  # a tick: time has come this far
        producer.produce(timeline, partition=partition, timestamp=load.end)
    producer.flush(300)


def _decided(stack: Stack) -> Counter[bytes]:
    """Return the decisions that readers of committed records find."""
    codec, topology = open_codec(stack.settings), Topology(stack.settings)
    topic = topology.name("decisions")
    codec.prepare({topic: "decisions"})
    return Counter(
        _same(codec.decode(message.value() or b""))
        for partition in range(topology.partitions("decisions"))
        for message in read_partition(stack.settings, topic, partition, 0)
    )


def _simulated(load: Load) -> Counter[bytes]:
    """Return the decisions of the pure stages over the same log."""
    catalog = load_workspace(load.workspace).catalog
    if catalog is None:
        raise SystemExit(f"{load.workspace} does not compile")
    pipeline, outputs = Pipeline(catalog, BEGINNING_MS), []
    for _, event, at in load.events():
        outputs += pipeline.append(event, at)
    outputs += pipeline.advance(load.end)
    records = (output.emit.record for output in outputs)
    return Counter(_same(record) for record in records if isinstance(record, Decision))


def _same(record: Any) -> bytes:
    return msgspec.json.encode(record, order="deterministic")


def _pin(pid: int, core: int) -> None:
    from runner import pin

    pin(pid, core)


def applied(url: str) -> float:
    """Return how many events the decide stage has applied, as its metrics say."""
    with urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310 - our own address
        for line in answer.read().decode().splitlines():
            if line.startswith(LINE):
                return float(line.split()[-1])
    return 0.0
