"""A deployment with topics of other teams, and eyes on what comes of their records."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from orchestrator.codec import open_codec
from orchestrator.journeys import check_source_file
from orchestrator.kafka.clients import admin_config, consumer_config, producer_config
from orchestrator.kafka.publishing import CatalogPublisher
from orchestrator.kafka.reading import fetched
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition, Event
from orchestrator.settings import Settings
from orchestrator.sources.connect.connector import run
from orchestrator.sources.connect.reader import group_of
from tests.ends import ENDS_AT_ONCE, LOOK_S

PROFILE = '{"identities":{"also":["email"],"primary":"user_id"}}'
DEADLINE_S = 120.0


class Lab:
    """Writes mappings, topics and records; reads events, dead letters and positions."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.topology = Topology(settings)
        self.codec = open_codec(settings)
        self.topology.apply()
        self.codec.prepare(self.topology.names("events", "timeline", "outcomes", "definitions"))
        self._folder = folder
        self._admin = AdminClient(admin_config(settings))
        self._producer = Producer(producer_config(settings, partitioner="consistent_random"))
        self._catalogs = 0

    def name(self, topic: str) -> str:
        """A topic's name that is this test's own."""
        return f"{self.settings.topics.prefix}-{topic}"

    def create(self, *topics: str, partitions: int = 2) -> None:
        """Create topics of other teams."""
        new = [NewTopic(self.name(topic), partitions, 1) for topic in topics]
        for made in self._admin.create_topics(new).values():
            made.result(30)

    def apply(self, *mappings: str) -> None:
        """Put a catalog with these mappings in force; ``{NAME}`` is ``name(NAME)``."""
        publisher = CatalogPublisher(self.settings, self.codec)
        publisher.open()
        profile = Definition(kind="profile", name="profile", hash="p", source=PROFILE)
        definitions = [profile, *map(self._compiled, mappings)]
        self._catalogs += 1
        names = {f"{one.kind}/{one.name}": one.hash for one in definitions}
        switch = CatalogSwitch(catalog=f"c{self._catalogs}", definitions=names, status={})
        publisher.publish(definitions, switch)

    def _compiled(self, text: str) -> Definition:
        file = self._folder / "mapping.yaml"
        file.write_text(text.replace("TOPIC-", self.name("")))
        definition, _, found = check_source_file(file)
        assert definition is not None, found
        return Definition(
            kind="source", name=definition.name, hash=definition.hash, source=definition.source
        )

    def write(
        self,
        topic: str,
        value: Any,
        key: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        partition: int = -1,
    ) -> None:
        """Write one record as another team does; what is no bytes becomes JSON."""
        if not isinstance(value, bytes | None):
            value = json.dumps(value).encode()
        sent = [(name, text.encode()) for name, text in (headers or {}).items()]
        self._producer.produce(self.name(topic), value, key, headers=sent, partition=partition)

    def written(self) -> None:
        """Wait until Kafka has all of it."""
        assert not self._producer.flush(DEADLINE_S)

    def read(self, topic: str) -> list[Message]:
        """What a topic holds now, partition by partition."""
        consumer = Consumer(consumer_config(self.settings, "test-reader", **ENDS_AT_ONCE))
        count = len(consumer.list_topics(topic, 30).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, one, 0) for one in range(count)])
        found: list[Message] = []
        ended = set()
        while len(ended) < count:
            for message in fetched(consumer, 1000, LOOK_S):
                if error := message.error():
                    assert error.code() == KafkaError._PARTITION_EOF
                    ended.add(message.partition())
                else:
                    found.append(message)
        consumer.close()
        return sorted(found, key=lambda one: (one.partition(), one.offset()))

    def messages(self) -> list[Message]:
        """The records of the events topic that are events."""
        return [
            one
            for one in self.read(self.topology.name("events"))
            if one.value() and isinstance(self.codec.decode(one.value()), Event)
        ]

    def events(self) -> list[Event]:
        return [self.codec.decode(one.value()) for one in self.messages()]  # type: ignore[misc]

    def dead_letters(self) -> list[Message]:
        return self.read(self.topology.name("dead-letters"))

    def count(self) -> int:
        """How many records the events topic holds, markers of transactions included."""
        consumer = Consumer(consumer_config(self.settings, "test-reader"))
        name = self.topology.name("events")
        try:
            found = [TopicPartition(name, one) for one in range(self.topology.partitions("events"))]
            return sum(consumer.get_watermark_offsets(one, 30)[1] for one in found)
        finally:
            consumer.close()

    def left(self, *topics: str) -> int:
        """Records that the group has not committed."""
        consumer = Consumer(consumer_config(self.settings, group_of(self.settings)))
        try:
            told = [
                TopicPartition(topic, partition)
                for topic in map(self.name, topics)
                for partition in consumer.list_topics(topic, 30).topics[topic].partitions
            ]
            ends = [consumer.get_watermark_offsets(one, 30)[1] for one in told]
            done = [max(0, one.offset) for one in consumer.committed(told, 30)]
        finally:
            consumer.close()
        return sum(ends) - sum(done)

    def until(self, condition: Callable[[], bool], said: Callable[[], object] = str) -> None:
        """Wait for a condition; a broker that just came back cannot answer yet."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with suppress(KafkaException):
                if condition():
                    return
            assert time.monotonic() < deadline, said()
            time.sleep(0.05)

    async def consumed(self, *topics: str) -> None:
        """Wait until every record of these topics is behind the group's positions."""
        await asyncio.to_thread(self.until, lambda: self.left(*topics) == 0)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """Run the role in this process; it must end without an error."""
    stop = asyncio.Event()
    running = asyncio.create_task(run(settings, stop))
    try:
        yield stop
    finally:
        stop.set()
        await running
