"""The product's row: the example workspace on as many events, by the worker that operators run.

The events lie on the timeline before the worker starts, so the figure is one stage's: Avro in, seed
journey, waits, caps, gap, quiet hours, consent and traits, Avro out, exactly once. They tell of two
weeks, and time is the log's. It commits as often as every entrant (a second; its own default is less).
What was decided is then held against ``simulate`` over the same events, decision by decision, and
all states against a rerun of the log (``replay --verify``), byte for byte.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import workload
from confluent_kafka import Producer

from orchestrator.cli.replay import audit
from orchestrator.codec.opening import open_codec
from orchestrator.journeys import load_workspace
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision
from orchestrator.testing.broker import Broker
from orchestrator.testing.simulation import simulate
from orchestrator.testing.stack import Stack

ROW = "ours_product"
END = workload.BEGIN + workload.SPAN_MS + 4 * 86_400_000
"""Waits and deferred sends of the last day have come due by then."""
LINE = 'orchestrator_inputs_total{kind="events",stage="decide"}'


def drain(run: Any, broker: Broker, *, count: int, customers: int) -> dict[str, Any]:
    """Measure; return a row like the peers'."""
    name = f"bench-{time.time_ns()}"
    settings = {
        "app": {"id": name},
        "topics": {"prefix": name},
        "worker": {"assume_accepted": True, "checkpoint_ms": run.COMMIT_MS},
    }
    with Stack(workload.EXAMPLE, clock="log", broker=broker, settings=settings) as stack:
        _preload(stack, count, customers)
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
        decided, simulated = _decided(stack), _simulated(count, customers)
        return {
            "entrant": ROW,
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


def _preload(stack: Stack, count: int, customers: int) -> None:
    codec, topology = open_codec(stack.settings), Topology(stack.settings)
    timeline = topology.name("timeline")
    codec.prepare({timeline: "timeline"})
    producer = Producer(producer_config(stack.settings))
    for key, event in workload.events(count, customers):
        value = codec.encode(event, timeline)
        producer.produce(timeline, value, key, timestamp=event.occurred_at)
        while len(producer) > 50_000:
            producer.poll(0.1)
    for partition in range(topology.partitions("timeline")):  # a tick: time has come this far
        producer.produce(timeline, partition=partition, timestamp=END)
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


def _simulated(count: int, customers: int) -> Counter[bytes]:
    """Return the decisions of ``simulate`` over the same events."""
    found: Counter[bytes] = Counter()
    catalog = load_workspace(workload.EXAMPLE).catalog
    if catalog is None:
        raise SystemExit(f"{workload.EXAMPLE} does not compile")

    def take(output: Any) -> None:
        if isinstance(output.emit.record, Decision):
            found[_same(output.emit.record)] += 1

    simulate(
        catalog, (event for _, event in workload.events(count, customers)), until=END, each=take
    )
    return found


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
