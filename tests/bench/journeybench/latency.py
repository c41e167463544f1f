"""Latency of the product: from the broker's append time of an event to what a reader of committed records sees.

Open loop: events are written at a fixed rate whatever comes of them. ``decision`` begins on the
timeline (one stage); ``action`` begins on the events topic (identify, then decide, two transactions).
What timers do is not counted: nobody waits for it from an event on. Events are encoded before the
run and decisions decoded after it, for both would be done on the broker's core.
"""

from __future__ import annotations

import argparse
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
from orchestrator.kafka.topics import Topology
from orchestrator.testing.broker import Broker
from orchestrator.testing.stack import Stack

PARTITIONS = 4
CUSTOMERS = 20_000
WARM_S = 10
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
    producer = Producer(producer_config(stack.settings, **{"linger.ms": 5}))
    appended: dict[str, int] = {}
    began = time.monotonic()
    for number, (key, value, event) in enumerate(stream):
        while (ahead := began + number / rate - time.monotonic()) > 0:
            producer.poll(min(ahead, 0.002))
        note = _note(appended, event.event_id) if number >= rate * WARM_S else None
        producer.produce(source, value, key, on_delivery=note)
        if number % 100 == 0:
            producer.poll(0)
    late = time.monotonic() - began - total / rate
    producer.flush(60)
    time.sleep(AFTER_S)
    stack.stop("worker")
    seen = reader.stop(codec)
    waits = sorted(at - appended[cause] for cause, at in seen.items() if cause in appended)
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


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _at(waits: list[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * share))] if waits else float("nan")


def _note(appended: dict[str, int], event_id: str) -> Any:
    def on_delivery(error: Any, message: Any) -> None:
        if error is None:
            appended[event_id] = message.timestamp()[1]

    return on_delivery


def main() -> None:
    """Measure every rate for both; one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="1000")
    parser.add_argument("--kinds", default="decision,action")
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    with Broker() as broker:
        runner.pin(broker.pid, int(os.environ.get("JB_OTHER_CORE", "0")))
        for rate in given.rates.split(","):
            for kind in given.kinds.split(","):
                print(json.dumps(measure(broker, kind, int(rate), given.seconds)), flush=True)


if __name__ == "__main__":
    main()
