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
    away = f"{topic} cannot be read from Kafka at {','.join(bootstrap_servers(settings))}"
    try:
        # Asked first: a consumer tells its error callback, not its caller, of a missing topic.
        try:
            known = consumer.list_topics(topic, timeout=SILENT_S).topics[topic]
        except KafkaException as silence:
            raise BrokerUnavailable(f"{away}: {silence.args[0].str()}") from silence
        if partition not in known.partitions:
            raise TopologyError(
                f"{topic} [{partition}] is missing: run `orchestrator topics apply`"
            )
        consumer.assign([TopicPartition(topic, partition, start)])
        deadline = time.monotonic() + SILENT_S
        while time.monotonic() < deadline:
            for message in consumer.consume(BATCH, 0.2):
                deadline = time.monotonic() + SILENT_S
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    return
                elif error.fatal():
                    raise BrokerUnavailable(f"{away}: {error.str()}")
        raise BrokerUnavailable(away)
    finally:
        consumer.close()
