"""A channel service of another team, in another language, with nothing but the published contracts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from time import time

import pytest
from confluent_kafka import Producer

from orchestrator.codec import headers_for, open_codec
from orchestrator.ids import receipt_id
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Action
from orchestrator.settings import load_settings
from orchestrator.testing.observer import Observer
from tests.node import node_project

pytestmark = pytest.mark.kafka
HOUR = 3_600_000


def action(number: int, **changes: object) -> Action:
    now = int(time() * 1000)
    fields = {
        "action_id": f"a{number}", "customer_id": f"käthe-{number}", "channel": "push", "message": "m",
        "template": "h", "content": {"profile.name": "Ädä", "profile.visits": 3, "profile.vip": True},
        "address": "token", "journey": "j", "journey_version": "v", "entry_id": "e", "step": "s",
        "decision_id": "d", "category": "news", "priority": 50, "decided_at": now,
        "expires_at": now + HOUR, "caused_by": "x",
    }  # fmt: skip
    return Action(**(fields | changes))


@pytest.fixture
def world(broker, registry, prefix, tmp_path):
    flags = {
        "dev": "true", "kafka.bootstrap.servers": broker.bootstrap, "registry.url": registry.url,
        "topics.prefix": prefix, "worker.data_dir": str(tmp_path), "topics.channels": "push",
    }  # fmt: skip
    settings = load_settings(env={}, flags=flags)
    topology = Topology(settings)
    topology.apply()
    codec = open_codec(settings)
    codec.prepare(topology.names("actions", "events"))
    return settings, topology, codec


def test_a_service_in_javascript_reads_actions_and_reports(broker, registry, world):
    """Only what is committed; each action once; receipts with the recipe's id, where Java would put them."""
    settings, topology, codec = world
    project = node_project(Path(__file__).parent / "foreign")
    name = topology.name("actions", "push")
    producer = Producer(producer_config(settings, **{"transactional.id": f"{name}-test"}))
    producer.init_transactions(30)

    def put(*actions: Action, commit: bool = True) -> None:
        producer.begin_transaction()
        for one in actions:
            value = codec.encode(one, name)
            headers = list(headers_for(one, "test"))
            producer.produce(name, value, one.customer_id.encode(), headers=headers)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)

    put(action(0), commit=False)  # never decided
    put(action(1), action(1), action(2))
    put(action(3, expires_at=1), action(4, kind="cancel", action_id="a2"), action(5))
    script = project / "channel_service.js"
    events = topology.name("events")
    command = ["node", str(script), broker.bootstrap, registry.url, name, events, "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert "a0" not in {one["action_id"] for one in seen}
    assert all(one["key"] == one["customer_id"] for one in seen)
    first = next(one for one in seen if one["action_id"] == "a1")
    assert first["content"]["profile.name"] == {"string": "Ädä"}
    assert first["content"]["profile.vip"] == {"boolean": True}
    with Observer(settings, frozenset({"events"})) as observer:
        observer.wait("4 receipts", lambda: len(observer.events) >= 4)
        got = {one.event_id: one for one in observer.events}
    assert got.keys() == {
        receipt_id("a1", "accepted"), receipt_id("a2", "accepted"),
        receipt_id("a3", "dropped"), receipt_id("a5", "accepted"),
    }  # fmt: skip
    late = got[receipt_id("a3", "dropped")]
    assert (late.type, late.properties["reason"]) == ("message.dropped", "window")
    assert late.identities == {"customer": "käthe-3"}


def test_its_partitioner_is_ours(world):
    """The records above lie where the engine looks for them: kafkajs, Java and we hash alike."""
    _, topology, _ = world
    count = topology.partitions("events")
    assert {partition_for(f"customer:käthe-{n}".encode(), count) for n in range(50)} == set(
        range(count)
    )
