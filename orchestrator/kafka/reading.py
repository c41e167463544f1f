"""Reading one partition from a position to where its end is now: for tools, not for roles."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestrator.errors import BrokerUnavailable, TopologyError
from orchestrator.kafka.clients import bootstrap_servers, consumer_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.settings import Settings

SILENT_S: Final = 30.0
"""So long nothing may come before the broker counts as away."""
BATCH: Final = 5_000


def read_partition(
    settings: Settings, topic: str, partition: int, start: int = 0
) -> Iterator[Message]:
    """Yield the committed records from ``start`` to the end of the partition as it is now. Blocks.

    Raises:
        BrokerUnavailable: Nothing came for half a minute.
        TopologyError: The topic or partition is missing.
    """
    # The group's name is needed by the client and used for nothing: no offsets, no membership.
    extra = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
    consumer = Consumer(consumer_config(settings, f"{settings.app.id}-tools", **extra))
    consumer.assign([TopicPartition(topic, partition, start)])
    deadline = time.monotonic() + SILENT_S
    try:
        while True:
            for message in consumer.consume(BATCH, 0.2):
                deadline = time.monotonic() + SILENT_S
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    return
                elif error.code() in {
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
                }:
                    raise TopologyError(f"{topic} is missing: run `orchestrator topics apply`")
                elif error.fatal():
                    raise BrokerUnavailable(str(KafkaException(error)))
            if time.monotonic() > deadline:
                servers = ",".join(bootstrap_servers(settings))
                raise BrokerUnavailable(f"{topic} cannot be read from Kafka at {servers}")
    finally:
        consumer.close()
