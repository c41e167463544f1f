"""One deployment with the topics of three channels, and hands to put actions in and look at results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from orchestrator.codec import Codec, open_codec
from orchestrator.ids import make_id
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.publishing import CatalogPublisher
from orchestrator.kafka.reading import fetched
from orchestrator.kafka.topics import Topology
from orchestrator.records import Action, CatalogSwitch, Definition
from orchestrator.settings import Settings, load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry
from tests.ends import ENDS_AT_ONCE, LOOK_S

HOUR = 3_600_000
WELCOME = {
    "message": "welcome",
    "channels": {
        "email": {
            "subject": "Hello {{ profile.name }}",
            "text": "Dear {{ profile.name }}",
            "html": "<p>Dear {{ profile.name }}</p>",
        },
        "inapp": {"title": "Hello {{ profile.name }}", "body": "Good to see you", "link": "/start"},
        "sales": {"text": "call {{ profile.name }}"},
    },
}


def definition(source: dict[str, Any]) -> Definition:
    text = json.dumps(source, sort_keys=True, separators=(",", ":"))
    return Definition(
        kind="message", name=source["message"], hash=make_id("def", text), source=text
    )


class Deployment:
    """A deployment of its own on the shared broker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topology = Topology(settings)
        self.topology.apply()
        self.codec: Codec = open_codec(settings)
        self.codec.prepare(self.topology.names("actions", "definitions", "events", "timeline"))
        self.codec.prepare(self.topology.names("outcomes", "deliveries", "inbox"))
        self.producer = Producer(producer_config(settings))
        self.welcome = definition(WELCOME)
        publisher = CatalogPublisher(settings, self.codec)
        publisher.open()
        switch = CatalogSwitch(
            catalog="c1", definitions={"message/welcome": self.welcome.hash}, status={}
        )
        publisher.publish([self.welcome], switch)

    def action(self, number: int, customer: str = "ada", **changes: Any) -> Action:
        """Return a send that is due now."""
        now = int(time() * 1000)
        fields: dict[str, Any] = {
            "action_id": f"a{number:05}",
            "customer_id": customer,
            "channel": "email",
            "message": "welcome",
            "template": self.welcome.hash,
            "content": {"profile.name": "Ada"},
            "address": f"{customer}@example.com",
            "journey": "trial",
            "journey_version": "v1",
            "entry_id": "e1",
            "step": "day1",
            "decision_id": f"d{number}",
            "category": "education",
            "priority": 50,
            "decided_at": now,
            "expires_at": now + HOUR,
            "caused_by": "event",
        }
        return Action(**(fields | changes))

    def put(self, *actions: Action) -> None:
        """Append actions to their channels' topics."""
        for action in actions:
            topic = self.topology.name("actions", action.channel)
            at = action.decided_at if self.topology.log_clock else 0
            self.producer.produce(
                topic,
                self.codec.encode(action, topic),
                action.customer_id.encode(),
                timestamp=at,
            )
        assert self.producer.flush(30) == 0

    def read(self, topic: str) -> list[Message]:
        """Return all committed records of a topic, by partition and offset."""
        consumer = Consumer(consumer_config(self.settings, "test-reader", **ENDS_AT_ONCE))
        partitions = consumer.list_topics(topic).topics[topic].partitions
        consumer.assign([TopicPartition(topic, one, 0) for one in partitions])
        found, ended = [], set()
        while len(ended) < len(partitions):
            for message in fetched(consumer, 1000, LOOK_S):
                if error := message.error():
                    assert error.code() == KafkaError._PARTITION_EOF
                    ended.add(message.partition())
                else:
                    found.append(message)
        consumer.close()
        return found

    def records(self, logical: Any, channel: str = "") -> list[Any]:
        """Return all records of a topic, decoded; tombstones are left out."""
        return [
            self.codec.decode(message.value())
            for message in self.read(self.topology.name(logical, channel))
            if message.value() is not None
        ]

    def receipts(self) -> list[tuple[str, str, str | None]]:
        """Return (action, type, reason) of all receipts."""
        return [
            (one.properties["action_id"], one.type, one.properties.get("reason"))
            for one in self.records("events")
            if one.__class__.__name__ == "Event"
        ]


@pytest.fixture
def deploy(
    broker: Broker, registry: Registry, prefix: str, tmp_path: Path
) -> Iterator[Callable[..., Deployment]]:
    """Make a deployment; keyword arguments are settings, ``__`` for ``.``."""

    def make(**flags: Any) -> Deployment:
        given = {
            "dev": "true",
            "kafka.bootstrap.servers": broker.bootstrap,
            "registry.url": registry.url,
            "topics.prefix": prefix,
            "worker.data_dir": str(tmp_path / "data"),
            "deliver": {
                "email": {"sender": "smtp"},
                "inapp": {"sender": "inapp"},
                "sales": {"sender": "log"},
            },
        }
        return Deployment(
            load_settings(
                env={},
                flags=given | {key.replace("__", "."): value for key, value in flags.items()},
            )
        )

    return make
