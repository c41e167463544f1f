"""Latency of the product: from the broker's append time of an event to what a reader of committed records sees.

Open loop: events are written at a fixed rate whatever comes of them. ``decision`` begins on the
timeline (one stage); ``action`` begins on the events topic (identify, then decide, two transactions).
What timers do is not counted: nobody waits for it from an event on. Events are encoded before the
run and decisions decoded after it, for both would be done on the broker's core.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import runner
import workload
from confluent_kafka import Consumer, Producer

from orchestrator.codec.opening import open_codec
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.testing.broker import AS_DEPLOYED, Broker
from orchestrator.testing.stack import Stack

PARTITIONS = 4
CUSTOMERS = 100_000
WARM_S = 60
"""The broker is as operators run it: for so long its compiler works on the core it is measured on."""
TICK_S = 0.002
"""Between two portions of events: the writer shares the broker's core, and shall need little of it."""
AFTER_S = 5
"""What is still under way then counts too."""


class Reader(threading.Thread):
    """Notes when each record came into sight."""

    def __init__(self, settings: Any, topics: list[str]) -> None:
        super().__init__(daemon=True)
        self._seen: list[tuple[bytes, float]] = []
        self._settings = settings
        self._topics = topics
        self._over = threading.Event()

    def run(self) -> None:
        """Read until ``stop``."""
        latest = {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 5}
        consumer = Consumer(consumer_config(self._settings, f"latency-{time.time_ns()}", **latest))
        consumer.subscribe(self._topics)
        while not self._over.is_set():
            for message in consumer.consume(500, 0.01):
                now = time.time() * 1000
                if message.error() is None:
                    self._seen.append((message.value() or b"", now))
        consumer.close()

    def stop(self, codec: Any) -> dict[str, float]:
        """Read no more; return when the first record of each cause came into sight."""
        self._over.set()
        self.join()
        first: dict[str, float] = {}
        for value, at in self._seen:
            first.setdefault(codec.decode(value).caused_by, at)
        return first


def measure(broker: Broker, kind: str, rate: int, seconds: int) -> dict[str, Any]:
    """Return the percentiles of one rate, in ms."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    name = f"latency-{time.time_ns()}"
    settings = {
        "app": {"id": name},
        "topics": {"prefix": name, "partitions": PARTITIONS},
        "worker": {"assume_accepted": True},
    }
    try:
        workspace = workload.workspace(folder / "workspace", 1)
        policy = workspace / "policy.yaml"  # whatever time of day it is, e-mails leave
        policy.write_text(policy.read_text().replace("channels: [email, push]", "channels: [push]"))
        with Stack(workspace, broker=broker, settings=settings) as stack:
            return _measured(stack, kind, rate, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(stack: Stack, kind: str, rate: int, seconds: int) -> dict[str, Any]:
    codec, topology = open_codec(stack.settings), Topology(stack.settings)
    source = topology.name("timeline" if kind == "decision" else "events")
    topics = [topology.name("decisions")]
    if kind == "action":
        topics = [topology.name("actions", channel) for channel in ("email", "inapp", "push")]
    logical = "decisions" if kind == "decision" else "actions"
    codec.prepare({source: "events", **dict.fromkeys(topics, logical)})
    role = stack.start("worker")
    core = int(os.environ.get("JB_SUT_CORE", "1"))
    runner.pin(role.process.pid, core)
    stack.wait_ready("worker", f"{stack.worker_url}/readyz", 120)
    total = rate * (WARM_S + seconds)
    now = int(time.time() * 1000)
    stream = [
        (key if kind == "decision" else b"account_id:" + key, codec.encode(event, source), event)
        for key, event in workload.events(total, CUSTOMERS, begin=now, span_ms=1000 * total // rate)
    ]
    reader = Reader(stack.settings, topics)
    reader.start()
    late = _write(
        Producer(producer_config(stack.settings, **{"linger.ms": 5})), source, stream, rate
    )
    time.sleep(AFTER_S)
    stack.stop("worker")
    seen, appended = reader.stop(codec), _appended(stack, source, codec)
    measured = {event.event_id for _, _, event in stream[rate * WARM_S :]}
    waits = sorted(at - appended[cause] for cause, at in seen.items() if cause in measured)
    return {
        "kind": kind,
        "rate": rate,
        "seconds": seconds,
        "samples": len(waits),
        **{name: round(_at(waits, share), 1) for name, share in SHARES.items()},
        "max": round(waits[-1], 1) if waits else None,
        "writer_late_s": round(late, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _write(
    producer: Producer, source: str, stream: list[tuple[bytes, bytes, Any]], rate: int
) -> float:
    """Write at a fixed rate, a portion each tick; return how late the last one was (s)."""
    gc.collect()
    gc.freeze()  # half a million events are in memory, and a pause would be counted
    began, done = time.monotonic(), 0
    while done < len(stream):
        due = min(len(stream), int((time.monotonic() - began) * rate) + 1)
        for key, value, _ in stream[done:due]:
            producer.produce(source, value, key)
        done = due
        producer.poll(0)
        time.sleep(TICK_S)
    late = time.monotonic() - began - len(stream) / rate
    producer.flush(60)
    return late


def _appended(stack: Stack, source: str, codec: Any) -> dict[str, int]:
    """Return when the broker appended each event."""
    messages = [
        message
        for partition in range(PARTITIONS)
        for message in read_partition(stack.settings, source, partition)
    ]
    records = ((codec.decode(one.value()), one.timestamp()[1]) for one in messages if one.value())
    return {record.event_id: at for record, at in records if isinstance(record, Event)}


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _at(waits: list[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * share))] if waits else float("nan")


def main() -> None:
    """Measure every rate for both; one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="1000")
    parser.add_argument("--kinds", default="decision,action")
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    with Broker(jvm=AS_DEPLOYED) as broker:
        runner.pin(broker.pid, int(os.environ.get("JB_OTHER_CORE", "0")))
        for rate in given.rates.split(","):
            for kind in given.kinds.split(","):
                print(json.dumps(measure(broker, kind, int(rate), given.seconds)), flush=True)


if __name__ == "__main__":
    main()
