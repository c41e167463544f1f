"""Reading one partition from a position to an end: for tools, not for roles."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestrator.errors import BrokerUnavailable, TopologyError
from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import bootstrap_servers, consumer_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.settings import Settings

SILENT_S: Final = 30.0
"""So long nothing may come before the broker counts as away."""
BATCH: Final = 5_000
POLL_S: Final = 0.05
KNOCK_S: Final = 0.05
PASSING: Final = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - its public name
}
"""A partition has no leader for a moment, or a client on a busy machine has not heard of it yet, though
it was just told that it is there: answers that end by themselves, and may come at once."""


class PartitionReader:
    """The committed records of one partition, in order; a context manager. All of it blocks.

    Args:
        settings: The deployment.
        topic: Full name.
        partition: Its number.
        start: The first offset wanted.

    Raises:
        AccessRefused: The broker does not let us in, or not to this topic.
        BrokerUnavailable: No broker answers.
        TopologyError: The topic or partition is missing.
    """

    def __init__(self, settings: Settings, topic: str, partition: int, start: int = 0) -> None:
        # The group's name is needed by the client and used for nothing: no offsets, no membership.
        extra = {
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,  # the end of a partition is told after so long
        }
        self._at = TopicPartition(topic, partition, start)
        self._away = f"{topic} cannot be read from Kafka at {','.join(bootstrap_servers(settings))}"
        self._door = Doorkeeper(settings)
        self._consumer = Consumer(
            consumer_config(settings, f"{settings.app.id}-tools", error_cb=self._door.hear, **extra)
        )
        self._ahead: list[Message] = []
        """Fetched and not given out, newest first."""
        self._end = start
        """All in front of it has been fetched."""
        self._done = False
        """The last thing that came was the end of what is committed."""
        try:
            self._check(topic, partition)
            self._consumer.assign([self._at])
        except BaseException:
            self._consumer.close()
            raise

    def _check(self, topic: str, partition: int) -> None:
        # A new client that is asked for metadata looks every 50 ms whether it is connected; asked for
        # offsets it hears of it. What they are, or why there are none, is not the question here.
        with suppress(KafkaException):
            self._consumer.get_watermark_offsets(self._at, timeout=KNOCK_S, cached=False)
        # Asked first: a consumer tells its error callback, not its caller, of a missing topic.
        answer = self._door.metadata(
            self._consumer, f"{topic} cannot be read", SILENT_S, topic=topic
        )
        known = answer.topics[topic]
        if partition not in known.partitions:
            raise TopologyError(
                f"{topic} [{partition}] is missing: run `orchestrator topics apply`"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def bounds(self) -> tuple[int, int]:
        """Return (first offset held, high watermark): open transactions lie in front of the latter.

        Raises:
            BrokerUnavailable: No answer.
        """
        deadline = time.monotonic() + SILENT_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(
                    self._at, timeout=SILENT_S, cached=False
                )
            except KafkaException as failure:
                error = failure.args[0]
                if error.code() not in PASSING or time.monotonic() > deadline:
                    raise BrokerUnavailable(f"{self._away}: {error.str()}") from failure
                time.sleep(POLL_S)

    def read(self, end: int | None = None) -> Iterator[Message]:
        """Yield what lies in front of offset ``end``; None: all that is committed by now.

        Waits until transactions that are open in front of ``end`` are settled. May be called again
        to read on.

        Raises:
            BrokerUnavailable: Nothing came for half a minute.
        """
        while (message := self.peek(end)) is not None:
            self._ahead.pop()
            yield message

    def peek(self, end: int | None = None) -> Message | None:
        """Return the next message in front of ``end`` and leave it where it is."""
        if not self._ahead:
            self._fetch(end)
        message = self._ahead[-1] if self._ahead else None
        if message is None or (end is not None and (message.offset() or 0) >= end):
            return None
        return message

    def _fetch(self, end: int | None) -> None:
        """Fetch on until there is something, or nothing in front of ``end``."""
        deadline = time.monotonic() + SILENT_S
        while not self._ahead and (not self._done if end is None else self._end < end):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(self._away)
            for message in fetched(self._consumer, BATCH, POLL_S):
                deadline = time.monotonic() + SILENT_S
                error, offset = message.error(), message.offset() or 0
                if error is None:
                    self._ahead.append(message)
                    self._end, self._done = offset + 1, False
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    self._end, self._done = max(self._end, offset), True
                elif error.fatal():
                    raise BrokerUnavailable(f"{self._away}: {error.str()}")
            self._ahead.reverse()


def fetched(consumer: Consumer, most: int, seconds: float) -> list[Message]:
    """Return what a consumer has fetched, at most ``most`` messages; waits for the first one only.

    ``consume`` alone takes its full time unless it gets all that it was asked for.
    """
    first = consumer.poll(seconds)
    return [] if first is None else [first, *consumer.consume(most - 1, 0)]


def headers_of(message: Message) -> tuple[tuple[str, bytes], ...]:
    """Return a message's headers as they lie in the log; names may repeat."""
    given: Any = message.headers() or ()
    return tuple((name, value or b"") for name, value in given)


def read_partition(
    settings: Settings, topic: str, partition: int, start: int = 0
) -> Iterator[Message]:
    """Yield the committed records from ``start`` to the end of the partition as it is now. Blocks.

    Raises:
        BrokerUnavailable: Nothing came for half a minute.
        TopologyError: The topic or partition is missing.
    """
    with PartitionReader(settings, topic, partition, start) as reader:
        yield from reader.read()
