"""An operator's order to pass over one record: a ``Skip`` behind it in its own partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer

from orchestrator.codec import headers_for
from orchestrator.errors import CouldNotRun, UsageError
from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import PartitionReader, read_partition
from orchestrator.records import Skip

if TYPE_CHECKING:
    from orchestrator.codec import Codec
    from orchestrator.settings import Settings

FLUSH_S: Final = 30.0


def order_skip(settings: Settings, codec: Codec, topic: str, order: Skip) -> int:
    """Append ``order`` to its partition; return the offset at which it lies.

    Args:
        settings: The deployment.
        codec: Prepared for ``topic``.
        topic: A stage's input, its full name.
        order: What to pass over.

    Raises:
        UsageError: There is no record at that offset.
        AccessRefused: The broker does not let us in, or not write here.
        CouldNotRun: Kafka did not take it.
        TopologyError: The topic or partition is missing.
    """
    with PartitionReader(settings, topic, order.partition) as reader:
        first, end = reader.bounds()
    if not first <= order.offset < end:
        raise UsageError(
            f"{topic} [{order.partition}] holds the offsets {first} to {end - 1}: "
            f"there is nothing to pass over at {order.offset}"
        )
    timestamp = 0  # now; the broker's clock puts its own there
    if settings.clock.mode == "log":
        # Log time must not move for it.
        behind = read_partition(settings, topic, order.partition, order.offset)
        timestamp = max(message.timestamp()[1] for message in behind)
    return _append(settings, topic, order, codec.encode(order, topic), timestamp)


def _append(settings: Settings, topic: str, order: Skip, value: bytes, timestamp: int) -> int:
    told: list[Any] = []
    door = Doorkeeper(settings)
    producer = Producer(producer_config(settings, error_cb=door.hear))
    producer.produce(
        topic,
        value,
        None,
        order.partition,
        headers=list[tuple[str, str | bytes | None]](headers_for(order, settings.app.id)),
        timestamp=timestamp,
        on_delivery=lambda error, message: told.append((error, message)),
    )
    producer.flush(FLUSH_S)
    if not told:
        raise CouldNotRun(f"no answer from Kafka: the order is perhaps on {topic}; give it again")
    error, message = told[0]
    if error is not None:
        raise door.verdict(f"{topic} cannot be written", KafkaException(error), producer)
    offset: int = message.offset()
    return offset
