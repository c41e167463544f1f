"""One task's changelog partition and transactional producer, by librdkafka.

This is the third of the three places where errors are told apart: a transaction that fails is never
aborted or tried again on the same producer. librdkafka does not speak transactions V2 (KIP-890): a
late EndTxn of the same epoch might end the *next* transaction. A fresh producer's
``init_transactions`` settles the outcome, and the changelog then tells which one it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from orchestrator.engine import meta as metas
from orchestrator.engine.ports import ChangelogRecord, Output, Snapshot
from orchestrator.errors import (
    BrokerUnavailable,
    ChangelogStuck,
    FencedError,
    TransactionFailed,
)

INIT_S = 5.0
BOUNDS_S = 5.0
BOUNDS_DEADLINE_S = 60.0
QUEUE_FULL_S = 0.05
READ_BATCH = 5_000
READ_WAIT_S = 0.2
_LOST = ("has no attribute 'log'", "with an exception set")
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's public name for it


class Cancelled(Exception):  # noqa: N818 - never leaves the engine
    """The partition has moved on while it was being opened."""


class Watermarks:
    """Asks for log ends. One consumer per process, read_uncommitted: the LSO would be too little."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {**config, "isolation.level": "read_uncommitted"}
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()

    def ask(self, topic: str, partition: int) -> tuple[int, int]:
        """Return (first offset, high watermark).

        Raises:
            BrokerUnavailable: No answer for a minute.
        """
        deadline = time.monotonic() + BOUNDS_DEADLINE_S
        while True:
            try:
                with self._lock:
                    if self._consumer is None:
                        self._consumer = Consumer(self._config)
                    first, end = self._consumer.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=BOUNDS_S, cached=False
                    )
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"no answer for {topic} {partition}") from error
            else:
                return first, end

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangelogConfig:
    """What all changelogs of a process share; the client configurations are librdkafka's."""

    producer: Mapping[str, Any]
    consumer: Mapping[str, Any]
    transaction_timeout: float
    commit_timeout: float
    stuck: float
    on_point: Callable[[str], None] = lambda _point: None
    """Called inside a commit at ``produced``, ``flushed``, ``committed``: where faults are put."""


class KafkaChangelog:
    """See the module docstring. Every method blocks."""

    def __init__(
        self,
        config: ChangelogConfig,
        watermarks: Watermarks,
        *,
        topic: str,
        source: str,
        partition: int,
        transactional_id: str,
        committed: Callable[[str, int], int] = lambda _topic, _partition: -1,
    ) -> None:
        self._config = config
        self._watermarks = watermarks
        self._topic = topic
        self._source = source
        self._partition = partition
        self._transactional_id = transactional_id
        self._committed = committed
        self._producer: Producer | None = None

    def fence(self, cancelled: Callable[[], bool]) -> None:
        """Shut out the former owner; the broker aborts its open transaction.

        Raises:
            Cancelled: No longer wanted.
            TransactionFailed: The broker refuses this producer.
        """
        config = self._config
        producer = Producer(
            {
                **config.producer,
                "transactional.id": self._transactional_id,
                "transaction.timeout.ms": int(config.transaction_timeout * 1000),
            }
        )
        while True:
            if cancelled():
                raise Cancelled
            try:
                producer.init_transactions(INIT_S)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise TransactionFailed(_text(error)) from error
            else:
                self._producer = producer
                return

    def bounds(self) -> tuple[int, int]:
        """Return (first offset, high watermark)."""
        return self._watermarks.ask(self._topic, self._partition)

    def source_bounds(self) -> tuple[int, int]:
        """The same for the stage's input partition."""
        return self._watermarks.ask(self._source, self._partition)

    def source_committed(self) -> int:
        """Return what the group has committed of the input; below 0 = nothing."""
        return self._committed(self._source, self._partition)

    def read(
        self, start: int, end: int, cancelled: Callable[[], bool]
    ) -> Iterator[Sequence[ChangelogRecord]]:
        """Yield committed records in batches, up to ``end``.

        Done at PARTITION_EOF with an offset >= ``end``: the consumer's position stops in front of
        transaction markers and would never get there.

        Raises:
            Cancelled: No longer wanted.
            ChangelogStuck: ``end`` does not come into sight.
        """
        if start >= end:
            return
        consumer = Consumer(
            {
                **self._config.consumer,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
                "queued.min.messages": 100_000,
                "queued.max.messages.kbytes": 4 * 1024,  # of each partition that is opened
                # Compressed; unpacked it may be many times that, beside the queue. So a restore peaks
                # at a third less than with 1 MB, and takes a sixth longer.
                "fetch.message.max.bytes": 256 * 1024,
                "check.crcs": True,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, self._partition, start)])
            moved, high = time.monotonic(), start
            while True:
                if cancelled():
                    raise Cancelled
                batch: list[ChangelogRecord] = []
                reached = high
                for message in consumer.consume(READ_BATCH, READ_WAIT_S):
                    at = _take(message, batch)
                    reached = max(reached, at)
                    if message.error() is not None and at >= end:
                        yield batch
                        return
                if batch or reached > high:
                    moved, high = time.monotonic(), reached
                if batch:
                    yield batch
                elif time.monotonic() - moved > self._config.stuck:
                    raise ChangelogStuck(
                        f"{self._topic} {self._partition} can be read up to {high}, but ends at "
                        f"{end}: an open transaction of somebody else. `kafka-transactions.sh "
                        f"find-hanging` names it; abort it there"
                    )
        finally:
            consumer.close()

    def commit(self, snapshot: Snapshot) -> int:
        """Write one transaction; return the changelog offset after its meta record.

        Raises:
            FencedError: Another owner has taken over.
            TransactionFailed: The outcome is unknown.
        """
        try:
            return self._commit(snapshot)
        except KafkaException as error:
            known = error.args[0]
            if known.fatal() or known.code() == KafkaError._FENCED:  # noqa: SLF001
                raise FencedError(_text(error)) from error
            raise TransactionFailed(_text(error)) from error
        except (AttributeError, SystemError) as error:
            # librdkafka logged right behind a fatal error: confluent-kafka calls our logger while its
            # own exception is pending, and that call's failure is all that is left of it.
            if not any(words in str(error) for words in _LOST):
                raise
            raise TransactionFailed("a fatal error of the client, lost behind its log") from error

    def _commit(self, snapshot: Snapshot) -> int:
        producer, config = self._producer, self._config
        if producer is None:
            raise TransactionFailed("the producer was closed")
        written: list[int] = []

        def on_meta(error: KafkaError | None, message: Message) -> None:
            if error is None:
                written.append(message.offset() or 0)

        producer.begin_transaction()
        produce, topic, partition = producer.produce, self._topic, self._partition
        # The log's time, never this machine's: a broker refuses what lies an hour ahead of its own.
        at = snapshot.meta.log_time
        for key, state, _ in snapshot.states:
            try:
                # The partition is the task's own, never the partitioner's.
                produce(topic, state, key, partition, timestamp=at)
            except BufferError:
                self._produce(producer, topic, key, state, partition, at)
        for output in snapshot.outputs:
            _produce_output(producer, output)
        value = metas.encode(snapshot.meta)
        self._produce(producer, topic, metas.META_KEY, value, partition, at, on_meta)
        config.on_point("produced")
        # A broker restart is waited out here, where it is safe: no EndTxn has been sent.
        left = producer.flush(config.transaction_timeout)
        if left:
            raise TransactionFailed(f"{left} records undelivered after the transaction's timeout")
        config.on_point("flushed")
        producer.commit_transaction(config.commit_timeout)
        config.on_point("committed")
        if len(written) != 1:
            raise TransactionFailed("committed, but the meta record was not reported as delivered")
        return written[0] + 1

    @staticmethod
    def _produce(
        producer: Producer,
        topic: str,
        key: bytes,
        value: bytes | None,
        partition: int,
        timestamp: int,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        while True:
            try:
                producer.produce(
                    topic, value, key, partition, on_delivery=on_delivery, timestamp=timestamp
                )
            except BufferError:
                producer.poll(QUEUE_FULL_S)
            else:
                return

    def close(self) -> None:
        """Destroy the producer without a flush: the next owner's fence ends what is open."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()


def _produce_output(producer: Producer, output: Output) -> None:
    headers: Any = output.headers  # a list of pairs, as the client wants it
    while True:
        try:
            producer.produce(
                output.topic,
                output.value,
                output.key,
                timestamp=output.timestamp,
                headers=headers,
            )
        except BufferError:
            producer.poll(QUEUE_FULL_S)
        else:
            return


def _take(message: Message, batch: list[ChangelogRecord]) -> int:
    """Add a record to the batch; return the offset that has been reached."""
    error, offset = message.error(), message.offset() or 0
    if error is None:
        batch.append(ChangelogRecord(offset, message.key() or b"", message.value()))
        return offset + 1
    if error.code() == _EOF:
        return offset
    if error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001
        return -1
    raise KafkaException(error)


def _text(error: KafkaException) -> str:
    known = error.args[0]
    return f"{known.name()}: {known.str()}"
