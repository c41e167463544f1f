"""The ledger of one partition: what became of each action, in Kafka, with a local copy to ask.

One transactional producer per partition writes everything that belongs together in one transaction:
claims and outcomes, receipts, inboxes, dead letters, and the group's position. Opening fences the
former owner, so a sink that was frozen and wakes up cannot claim. Like the engine's checkpoints this
is crash only: after any error the producer is destroyed and ``open`` finds out what was written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event as Flag
from time import time
from typing import NamedTuple

import msgspec
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from orchestrator.codec import Codec, headers_for
from orchestrator.disk import DAMAGED, is_damage
from orchestrator.errors import FatalError, FencedError, TransactionFailed
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.reading import fetched
from orchestrator.kafka.topics import Topology
from orchestrator.records import Delivery, DeliveryState
from orchestrator.settings import Settings

TTL_S = 15 * 86_400
"""The topic forgets after 14 days; the local copy a little later."""
SWEEP_S = 86_400
"""Between two passes over the local copy that forget what is older."""
SWEEP_ROWS = 1_000
"""Rows that a commit looks at meanwhile: about a millisecond."""
TRANSACTION_MS = 60_000
INIT_S = 60.0
COMMIT_S = 8.0
"""Shorter than socket.timeout.ms: librdkafka must not repeat a timed-out EndTxn by itself."""
FLUSH_ROWS = 10_000
"""Rows that a sink that was killed reads once more from the topic, at most: a fraction of a second."""
_OFFSET = b"\x00offset"
_BATCH = 10_000
_POLL_S = 0.5
_METADATA_S = 10.0


class Write(NamedTuple):
    """One record of a transaction. ``value`` None is a tombstone; ``partition`` -1 = by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []  # noqa: RUF012 - a NamedTuple's default, never changed
    partition: int = -1
    timestamp: int = 0


class Entry(NamedTuple):
    """One line for the ledger; ``delivery`` None takes a claim back. ``timestamp`` 0 = now."""

    action_id: str
    delivery: Delivery | None
    timestamp: int = 0


class Known(msgspec.Struct, array_like=True):
    """What the local copy keeps of a delivery, and since when (epoch s)."""

    state: DeliveryState
    attempts: int = 0
    kept_at: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Known).decode


class LedgerDamaged(FatalError):  # noqa: N818 - reads as a state
    """The local copy's files are damaged. Whoever starts next builds it again."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"the local copy of a ledger, {path}, is damaged ({error}). The sink starts anew without it "
            f"and reads the ledger from Kafka: nothing is lost and nothing is sent twice"
        )


class Ledger:
    """See the module docstring. All methods block; one thread at a time.

    ``membership`` gives the group's metadata, with which a position is committed; ``bounded`` watches
    over a transaction that may never come back (see ``stuck``).
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        channel: str,
        partition: int,
        membership: Callable[[], object],
        bounded: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        topology = Topology(settings)
        self.actions = TopicPartition(topology.name("actions", channel), partition)
        self._topic = topology.name("deliveries", channel)
        self._partition = partition
        self._settings = settings
        self._codec = codec
        self._membership = membership
        self._bounded = bounded
        self._group = f"{settings.app.id}-deliver-{channel}"
        self._transactional_id = f"{self._group}-{partition}"
        self._path = Path(settings.worker.data_dir, "deliver", channel, f"ledger-{partition}")
        self._producer: Producer | None = None
        self._store: Rdict | None = None
        self._unflushed = 0
        self._written = 0
        self._sweep_from: bytes | None = None
        self._sweep_at = 0
        self._stopped = Flag()

    # -------------------------------------------------------------------------- life

    def open(self) -> int:
        """Fence the former owner, read what is new in the ledger, return the position.

        The position is the offset of the oldest action without an outcome.

        Raises:
            TransactionFailed: Not now; try again.
            LedgerDamaged: The local copy must be built again: by the next start.
        """
        self._producer = None
        producer = Producer(
            producer_config(
                self._settings,
                **{
                    "transactional.id": self._transactional_id,
                    "transaction.timeout.ms": TRANSACTION_MS,
                },
            )
        )
        try:
            producer.init_transactions(INIT_S)
            position = self._catch_up()
        except KafkaException as error:
            raise _verdict(error) from error
        self._producer = producer
        return position

    def close(self) -> None:
        """Release the directory and drop the producer, without a flush."""
        self._stopped.set()
        self._producer = None
        self._shut()

    def _shut(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with suppress(LedgerDamaged), self._watched():
                store.close()

    # ----------------------------------------------------------------------- asking

    def get(self, action_id: str) -> Known | None:
        """Return what is known of an action.

        Raises:
            LedgerDamaged: The local copy cannot tell.
        """
        with self._watched():
            data = self._rows().get(action_id.encode())
        return None if data is None else _decode(data)

    # ---------------------------------------------------------------------- writing

    def commit(self, entries: Sequence[Entry], writes: Iterable[Write], position: int) -> None:
        """Write one transaction and then the local copy.

        Args:
            entries: Lines of the ledger.
            writes: What belongs to them: receipts, inboxes, dead letters.
            position: Where the next owner begins to read.

        Raises:
            FencedError: Another owner has the partition.
            TransactionFailed: The outcome is unknown: ``open`` again and ask.
        """
        producer = self._producer
        if producer is None:
            raise TransactionFailed("the ledger is not open")
        with self._bounded():
            self._transact(producer, entries, writes, position)
        self._keep((entry.action_id.encode(), entry.delivery) for entry in entries)
        self._sweep(int(time()))

    def _transact(
        self, producer: Producer, entries: Sequence[Entry], writes: Iterable[Write], position: int
    ) -> None:
        try:
            producer.begin_transaction()
            for entry in entries:
                self._produce_entry(producer, entry)
            for write in writes:
                _produce(producer, write)
            producer.send_offsets_to_transaction(
                [TopicPartition(self.actions.topic, self._partition, position)],
                self._membership(),
                COMMIT_S,
            )
            if producer.flush(TRANSACTION_MS / 1000):
                raise TransactionFailed("the broker did not take all records in time")
            producer.commit_transaction(COMMIT_S)
        except KafkaException as error:
            self._producer = None
            raise _verdict(error) from error
        except (BufferError, TransactionFailed) as error:
            self._producer = None
            raise TransactionFailed(str(error)) from error

    def _produce_entry(self, producer: Producer, entry: Entry) -> None:
        value, headers = None, None
        if entry.delivery:
            value = self._codec.encode(entry.delivery, self._topic)
            headers = _headers(headers_for(entry.delivery, self._settings.app.id))
        producer.produce(
            self._topic,
            value,
            entry.action_id.encode(),
            partition=self._partition,
            headers=headers,
            timestamp=entry.timestamp,
            on_delivery=self._delivered,
        )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._written = max(self._written, (message.offset() or 0) + 1)

    # --------------------------------------------------------------------- local copy

    def _rows(self) -> Rdict:
        if self._store is None:
            if self._damaged.exists():
                self._wipe()
            self._path.mkdir(parents=True, exist_ok=True)
            self._store = Rdict(str(self._path), Options(raw_mode=True))
            self._store.set_write_options(_without_wal())
            self._unflushed = 0
        return self._store

    @property
    def _damaged(self) -> Path:
        return self._path / DAMAGED

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note damage for the next opening, which builds the copy again from the topic."""
        try:
            yield
        except Exception as error:
            if is_damage(error):
                self._path.mkdir(parents=True, exist_ok=True)
                self._damaged.touch()
                raise LedgerDamaged(self._path, error) from error
            raise

    def _keep(self, lines: Iterable[tuple[bytes, Delivery | None]]) -> None:
        rows, batch, now = self._rows(), WriteBatch(raw_mode=True), int(time())
        for key, delivery in lines:
            if delivery is None:
                batch.delete(key)
            else:
                batch.put(key, _encode(Known(delivery.state, delivery.attempts, now)))
        batch.put(_OFFSET, self._written.to_bytes(8, "big"))
        self._unflushed += len(batch)
        with self._watched():
            rows.write(batch)
            if self._unflushed >= FLUSH_ROWS:
                rows.flush()
                self._unflushed = 0

    def _sweep(self, now: int) -> None:
        """Forget a little of what the topic has forgotten, too.

        Not by RocksDB's own TTL: rocksdict 0.3.29 wraps its compaction filter twice, the inner one
        takes the end of our value for a timestamp, and compactions dropped rows that were young.
        """
        if now < self._sweep_at:
            return
        rows, batch = self._rows(), WriteBatch(raw_mode=True)
        for seen, (key, value) in enumerate(rows.items(from_key=self._sweep_from)):
            if seen == SWEEP_ROWS:
                self._sweep_from = key
                break
            if key != _OFFSET and _decode(value).kept_at < now - TTL_S:
                batch.delete(key)
        else:
            self._sweep_from, self._sweep_at = None, now + SWEEP_S
        if len(batch):
            with self._watched():
                rows.write(batch)

    def _wipe(self) -> None:
        self._shut()
        shutil.rmtree(self._path, ignore_errors=True)
        self._written = 0

    def _catch_up(self) -> int:
        """Bring the local copy to the end of the topic, after the fence; return the position."""
        with self._watched():
            stored = self._rows().get(_OFFSET)
        self._written = int.from_bytes(stored, "big") if stored else 0
        here = TopicPartition(self._topic, self._partition)
        # Not the member's own client: that one does not answer while it is being assigned.
        reader = Consumer(
            consumer_config(
                self._settings,
                self._group,
                **{
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 20,  # the end is told after so long, not after 500
                },
            )
        )
        try:
            first, end = reader.get_watermark_offsets(here, timeout=_METADATA_S)
            if self._written and not first <= self._written <= end:
                self._wipe()
            if self._written < end:
                here.offset = max(first, self._written)
                reader.assign([here])
                self._replay(reader, end)
            return max(reader.committed([self.actions], _METADATA_S)[0].offset, 0)
        finally:
            reader.close()

    def _replay(self, reader: Consumer, end: int) -> None:
        done = False
        while not done and not self._stopped.is_set():
            lines: list[tuple[bytes, Delivery | None]] = []
            for message in fetched(reader, _BATCH, _POLL_S):
                if error := message.error():
                    # A position stops before markers: only the end of the partition is the end.
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                        raise KafkaException(error)
                    done = (message.offset() or 0) >= end
                    continue
                self._written = (message.offset() or 0) + 1
                if line := self._line(message):
                    lines.append(line)
            if done:
                self._written = max(self._written, end)
            self._keep(lines)

    def _line(self, message: Message) -> tuple[bytes, Delivery | None] | None:
        key, value = message.key(), message.value()
        if key is None:
            return None
        if value is None:
            return key, None
        record = decode_blocking(self._codec, value, self._stopped)
        return (key, record) if isinstance(record, Delivery) else None


def _without_wal() -> WriteOptions:
    """Return how the copy is written: Kafka is its log.

    So whatever is left of a damaged copy is one flush: rows and offset of the same instant. With a log of
    its own RocksDB lays what that still holds upon what a cut manifest has forgotten, and rows in the
    middle would be missing without a word: their messages would be sent again.
    """
    options = WriteOptions()
    options.disable_wal = True
    return options


def _headers(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, str | bytes | None]]:
    return list(headers)


def _produce(producer: Producer, write: Write) -> None:
    producer.produce(
        write.topic,
        write.value,
        write.key,
        partition=write.partition,
        headers=_headers(write.headers),
        timestamp=write.timestamp,
    )


def _verdict(error: KafkaException) -> FencedError | TransactionFailed:
    told = error.args[0]
    if told.code() in {
        KafkaError._FENCED,  # noqa: SLF001 - its public name
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
    }:
        return FencedError(told.str())
    return TransactionFailed(told.str())
