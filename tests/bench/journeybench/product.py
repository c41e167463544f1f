"""The product's row: the example workspace on as many events, by the worker that operators run.

The events lie on the timeline before the worker starts, so the figure is one stage's: Avro in, seed
journey, caps, gap, quiet hours, consent and traits, Avro out. What was decided is then held against
a rerun of the log by the pure stage (``replay --verify``): byte for byte, states included.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from confluent_kafka import Producer

from orchestrator.cli.replay import audit
from orchestrator.codec.opening import open_codec
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.testing.broker import Broker
from orchestrator.testing.stack import Stack

ROW = "ours_product"
EXAMPLE = Path(__file__).parents[3] / "deploy" / "example"
LINE = 'orchestrator_inputs_total{kind="events",stage="decide"}'
KINDS = (
    ["feature.used"] * 34
    + ["pricing.viewed"] * 10
    + ["trial.started"] * 8
    + ["customer.updated"] * 6
    + ["message.opened"] * 2
    + ["consent.granted"] * 8
    + ["subscription.started"]
)


def events(count: int, customers: int, seed: int = 1) -> Any:
    """Yield (key, event); a customer's first one tells who he is."""
    rnd, known = random.Random(seed), set()
    now = int(time.time() * 1000)
    for _ in range(count):
        customer = f"c{rnd.randrange(customers):07d}"
        kind = rnd.choice(KINDS) if customer in known else "customer.updated"
        known.add(customer)
        properties: dict[str, Any] = {}
        match kind:
            case "customer.updated":
                properties = {
                    "country": rnd.choice(["DE", "FR", "US"]),
                    "email": f"{customer}@example.com",
                    "timezone": "Europe/Berlin",
                }
            case "feature.used":
                properties = {"feature": f"f{rnd.randrange(20)}"}
            case "pricing.viewed":
                properties = {"plan": "pro"}
            case "subscription.started":
                properties = {"plan": "pro", "amount": 49.0}
            case "consent.granted":
                properties = {"category": "education"}
            case "message.opened":
                properties = {"action_id": f"{rnd.getrandbits(128):032x}"}
        yield (
            customer.encode(),
            Event(
                event_id=f"{rnd.getrandbits(128):032x}",
                type=kind,
                occurred_at=now,
                identities={"account_id": customer},
                source="bench",
                properties=properties,
            ),
        )


def drain(run: Any, broker: Broker, *, count: int, customers: int) -> dict[str, Any]:
    """Measure; return a row like the peers'."""
    settings = {"topics": {"prefix": "bench", "partitions": run.PARTITIONS}}
    with Stack(EXAMPLE, broker=broker, settings={**settings, "worker": ASSUMED}) as stack:
        topology, codec = Topology(stack.settings), open_codec(stack.settings)
        timeline = topology.name("timeline")
        codec.prepare({timeline: "timeline"})
        producer = Producer(producer_config(stack.settings))
        for key, event in events(count, customers):
            producer.produce(timeline, codec.encode(event, timeline), key)
            while len(producer) > 50_000:
                producer.poll(0.1)
        producer.flush(300)
        role = stack.start("worker")
        _pin(role.process.pid, int(run.SUT_CORE))
        stack.wait_ready("worker", f"{stack.worker_url}/readyz", 120)
        samples = [(0.0, 0.0, 0.0)]
        while samples[-1][0] < count:
            samples.append(
                (_applied(stack.worker_url), run.cpu_seconds(role.process.pid), time.monotonic())
            )
            time.sleep(0.25)
        rss = run.peak_rss_mb(role.process.pid)
        stack.stop("worker")
        low = next(s for s in samples if s[0] >= 0.1 * count)
        high = next(s for s in samples if s[0] >= 0.9 * count)
        span = max(1.0, high[0] - low[0])
        with tempfile.TemporaryDirectory() as folder:
            found = audit(stack.settings, "decide", Path(folder))
        return {
            "entrant": ROW,
            "events": count,
            "cpu_s_per_M": round((high[1] - low[1]) / span * 1e6, 2),
            "ev_s": round(span / max(0.01, high[2] - low[2])),
            "sut_core_share": round((high[1] - low[1]) / max(0.01, high[2] - low[2]), 2),
            "peak_rss_mb": round(rss),
            "decisions": sum(found.matched.values()),
            "decisions_ok": found.sound,
            "state_ok": found.sound,
            "states": found.states,
        }


ASSUMED = {"assume_accepted": True}


def _pin(pid: int, core: int) -> None:
    from runner import pin

    pin(pid, core)


def _applied(url: str) -> float:
    with urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310 - our own address
        for line in answer.read().decode().splitlines():
            if line.startswith(LINE):
                return float(line.split()[-1])
    return 0.0
