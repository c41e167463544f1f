"""Faults of the input: poison, duplicates, disorder, hot keys, sizes, catalogs, records that kill."""

from __future__ import annotations

import json
import re
import signal
import struct
import time
from http import HTTPStatus

from confluent_kafka import Producer
from deployment import RECOVERY_S, Deployment, Violation
from injected import Injected
from toys import event
from verdict import BY_HAND

from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.orders import order_skip
from orchestrator.records import Decision, Skip

POISON = {BY_HAND: b"poison"}
HARMLESS = {BY_HAND: b"harmless"}
COMPRESSIONS = ("gzip", "lz4", "zstd", "snappy")
DEATHS = 3
SKIP = re.compile(r"orchestrator state skip ([^`\\]+?) --reason WHY")


def poison_kinds(deployment: Deployment) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Return 20 kinds of records that no stage can take, as (key, value)."""
    topic, key = deployment.topology.name("events"), b"c1"
    good = deployment.codec.encode(event("toy.seen", deployment.number(), customer="c1"), topic)
    head, body = good[:5], good[5:]
    decision = Decision(
        decision_id="x",
        customer_id="c1",
        outcome="nothing",
        rule_values={},
        caused_by="x",
        decided_at=1,
        catalog="x",
    )
    foreign = deployment.codec.encode(decision, deployment.topology.name("decisions"))
    as_json = json.dumps({"type": "toy.seen"}).encode()
    return {
        "tombstone": (key, None),
        "empty": (key, b""),
        "one byte": (key, b"\0"),
        "a cut head": (key, head[:3]),
        "a head alone": (key, head),
        "wrong magic": (key, b"\1" + good[1:]),
        "json": (key, as_json),
        "text": (key, b"toy.seen"),
        "unknown schema": (key, b"\0" + struct.pack(">I", 900_000_000) + body),
        "schema id below zero": (key, b"\0\xff\xff\xff\xff" + body),
        "cut in the middle": (key, head + body[: len(body) // 2]),
        "cut at the end": (key, good[:-1]),
        "random bytes": (key, head + deployment.random.randbytes(200)),
        "endless length": (key, head + b"\xff" * 9 + b"\x01" + body),
        "bad text": (key, good.replace(b"toy.seen", b"\xff\xfe.seen")),
        "foreign record": (key, foreign),
        "no key": (None, good),
        "empty key": (b"", good),
        "key with zero": (b"\0c1", good),
        "key of bad text": (b"\xff\xfe\xfd", good),
        "huge rubbish": (key, head + b"\xff" * 900_000),
    }


def poison(deployment: Deployment) -> Injected:
    """Every kind of poison in both inputs: a dead letter each, and nothing else happens."""
    kinds = poison_kinds(deployment)
    for logical in ("events", "timeline"):
        topic = deployment.topology.name(logical)
        for key, value in kinds.values():
            partition = deployment.random.randrange(deployment.partitions)
            deployment.producer.produce(topic, value, key, partition, headers=POISON)
    _aborted_transaction(deployment)
    deployment.producer.flush(60)
    return Injected(f"{len(kinds)} kinds")


def _aborted_transaction(deployment: Deployment) -> None:
    """Leave records that were taken back, and a marker at the log's end."""
    name = f"chaos-{deployment.number()}"
    producer = Producer(producer_config(deployment.settings, **{"transactional.id": name}))
    producer.init_transactions(60)
    producer.begin_transaction()
    for partition in range(deployment.partitions):
        topic = deployment.topology.name("timeline")
        producer.produce(topic, b"taken back", b"c1", partition, headers=POISON)
    producer.flush(60)
    producer.abort_transaction(60)


def disorder(deployment: Deployment) -> Injected:
    """Duplicates, up to 46 of one event, shuffled, in four compressions and with absurd times."""
    topic, chance = deployment.topology.name("events"), deployment.random
    copies = []
    for _ in range(20):
        key, number = f"c{chance.randrange(200)}", deployment.number()
        at = chance.choice([0, -1, 1, number, 1 << 40, 4_102_444_800_000])
        item = event("toy.seen", number, at=at, customer=key)
        value = deployment.codec.encode(item, topic)
        copies += [(key.encode(), value)] * chance.choice([1, 2, 46])
    chance.shuffle(copies)
    for number, compression in enumerate(COMPRESSIONS):
        config = producer_config(deployment.settings, **{"compression.type": compression})
        producer = Producer(config)
        for key, value in copies[number :: len(COMPRESSIONS)]:
            producer.produce(topic, value, key)
        producer.flush(60)
    return Injected(f"{len(copies)} records of 20 events")


def hot_key(deployment: Deployment) -> Injected:
    """Thousands of events of one customer in a moment."""
    count = deployment.random.randrange(2_000, 5_000)
    deployment.inject([("toy.seen", "c0")] * count)
    deployment.producer.flush(60)
    return Injected(f"{count} events")


def oversize(deployment: Deployment) -> Injected:
    """States and outputs that are too large: refused before the state is touched; and large records."""
    chance = deployment.random
    kinds = [("toy.fat", f"c{chance.randrange(200)}") for _ in range(3)]
    kinds += [("toy.loud", f"c{chance.randrange(200)}") for _ in range(9)]
    deployment.inject(kinds)
    item = event("toy.seen", deployment.number(), customer="c2")
    item.properties["text"] = "x" * 900_000
    topic = deployment.topology.name("events")
    deployment.producer.produce(topic, deployment.codec.encode(item, topic), b"c2")
    deployment.producer.flush(60)
    return Injected("12 oversize effects, a record of 900 kB")


def catalogs(deployment: Deployment) -> Injected:
    """A catalog change, a kill in its sweep, another change, and the rollback."""
    names = ["k" * deployment.random.randrange(1, 9) for _ in range(2)]
    slot = deployment.random.choice(sorted(deployment.workers))
    deployment.arm(slot, "switch", deployment.random.randrange(1, 40))
    for name in (*names, names[0]):
        deployment.switch_catalog(name)
        time.sleep(deployment.random.random())
    deployment.wait_healthy()
    deployment.disarm(slot)
    return Injected(" -> ".join([*names, names[0]]))


def deadly_record(deployment: Deployment) -> Injected:
    """A record that kills whoever applies it: held after three deaths, until an operator's order."""
    return _deadly(deployment, "toy.deadly")


def deadly_timer(deployment: Deployment) -> Injected:
    """A timer that kills whoever fires it: the same."""
    return _deadly(deployment, "toy.doomed")


def _deadly(deployment: Deployment, kind: str) -> Injected:
    exits = deployment.exits[-signal.SIGKILL]
    key = f"doomed{deployment.number()}"
    deployment.inject([(kind, key)])
    deployment.producer.flush(60)
    orders: list[str] = []

    def held() -> bool:  # and health says so
        for slot in deployment.workers:
            status, text = deployment.get("/readyz", slot)
            orders.extend(SKIP.findall(text) if status != HTTPStatus.OK else ())
        return bool(orders)

    deployment.wait(f"{kind} is held", held, DEATHS * RECOVERY_S)
    deaths = deployment.exits[-signal.SIGKILL] - exits
    if deaths < DEATHS:
        raise Violation(f"{kind}: held after {deaths} deaths")
    topic, partition, offset, *more = orders[-1].split()
    told = dict(zip(more[::2], more[1::2], strict=True))
    order = Skip(
        partition=int(partition),
        offset=int(offset),
        reason="chaos",
        timer=told.get("--timer"),
        due=int(told["--due"]) if "--due" in told else None,
    )
    deployment.harmed = time.monotonic()
    order_skip(deployment.settings, deployment.codec, topic, order)
    deployment.wait_healthy()
    return Injected(f"{deaths} deaths, {orders[-1]}")
