"""A sample of the newest keys: does every producer partition as Java does?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from orchestrator.cli.doctor._checks import Check, finding, note, ok
from orchestrator.cli.doctor._offsets import bounds, remedy
from orchestrator.kafka.clients import consumer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for

if TYPE_CHECKING:
    from orchestrator.settings import Settings

SAMPLE: Final = 200
"""Offsets looked at in each partition, from its end."""


def keys(settings: Settings) -> Iterator[Check]:
    """Look at the newest keys of events and timeline."""
    topology = Topology(settings)
    for logical in ("events", "timeline"):
        topic, partitions = topology.name(logical), topology.partitions(logical)
        name = f"keys of {logical}"
        try:
            seen, astray = _sample(settings, topic, partitions, rows=logical == "events")
        except KafkaException as error:
            yield finding(name, error.args[0].str(), remedy(error, "grant Read on the topic"))
            continue
        if not seen:
            yield note(name, "no record to look at yet")
        elif not astray:
            yield ok(name, f"{seen} looked at; all lie where murmur2 puts them")
        elif logical == "events":
            yield finding(
                name,
                f"{astray} of {seen} lie on another partition than murmur2's; identify forwards them",
                "set partitioner=murmur2_random in the producer (Java's default is right)",
            )
        else:
            yield finding(
                name,
                f"{astray} of {seen} lie on another partition: a customer's log is torn apart",
                "only our roles may write the timeline; see who else has Write on it",
            )


def _sample(settings: Settings, topic: str, partitions: int, *, rows: bool) -> tuple[int, int]:
    """Return (keys seen, those astray). ``rows``: an order to forget is keyed by the row it means."""
    seen = astray = 0
    for partition, start in _starts(settings, topic, partitions).items():
        for message in read_partition(settings, topic, partition, start):
            key = message.key()
            if key is None:  # ticks and catalogs have none
                continue
            if rows and b":" not in _bytes(key):  # every identity is written kind:value
                continue
            seen += 1
            astray += partition_for(_bytes(key), partitions) != partition
    return seen, astray


def _bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _starts(settings: Settings, topic: str, partitions: int) -> dict[int, int]:
    """Return where to begin in each partition that has anything."""
    consumer = Consumer(consumer_config(settings, f"{settings.app.id}-tools"))
    try:
        found = {
            partition: bounds(consumer, TopicPartition(topic, partition))
            for partition in range(partitions)
        }
    finally:
        consumer.close()
    return {
        partition: max(first, end - SAMPLE)
        for partition, (first, end) in found.items()
        if end > first
    }
