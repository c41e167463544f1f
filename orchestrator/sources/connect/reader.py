"""The consumer of ``connect``: read, map, produce, wait for Kafka, and only then keep the position.

One thread does all of it, batch by batch, so at any instant all that is in flight is one batch: a
rebalance or a kill finds either a position behind which everything is in Kafka, or records that are
read again and come to the same event ids. A record that cannot be judged now (its schema is not
there) is not passed over: its partition is set back to it and waits, the others go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from orchestrator.errors import FatalError, UnavailableError
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.observability import get_logger
from orchestrator.settings import Settings
from orchestrator.sources import metrics
from orchestrator.sources.connect.opening import Incoming
from orchestrator.sources.producer import Outgoing

BATCH: Final = 500
POLL_S: Final = 0.1
RETRY_S: Final = 1.0
"""A partition that waits is tried again after so long."""
COMMIT_S: Final = 1.0
"""A kill repeats what was read within this time."""
SESSION_MS: Final = 10_000
"""A killed process's partitions wait this long for another to take over."""
DELIVERY_MS: Final = 60_000
"""Then a batch is begun anew: the consumer must not be silent for minutes."""
STOP_S: Final = 8.0
"""A stop waits this long for Kafka; what is not acknowledged is read again by the next process."""
_FLUSH_S: Final = 0.2
_FULL_S: Final = 0.5
_log = get_logger(__name__)


class Place(NamedTuple):
    """One partition of somebody's topic."""

    topic: str
    partition: int


@dataclass(slots=True)
class _Wait:
    """Why a partition stands still, and until when."""

    why: str
    until: float


@dataclass(slots=True)
class _Batch:
    """Where the records of a batch began and end, by partition; ``error``: not all are in Kafka."""

    begins: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    error: KafkaError | None = None
    abandoned: bool = False
    """A stop came before all was handed over."""

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        self.error = self.error or error


class Reader:
    """See the module docstring.

    Args:
        settings: The deployment.
        topics: Which topics to read now; raises UnavailableError while nobody knows.
        records: What a record becomes; raises UnavailableError if nobody can say now.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Callable[[], Iterable[str]],
        records: Callable[[Incoming], Sequence[Outgoing]],
    ) -> None:
        self._topics = topics
        self._records = records
        self._consumer = Consumer(
            consumer_config(
                settings,
                group_of(settings),
                **{
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": settings.kafka.get("session.timeout.ms", SESSION_MS),
                },
            )
        )
        self._producer = Producer(
            producer_config(settings, **{"delivery.timeout.ms": DELIVERY_MS, "linger.ms": 20})
        )
        self._subscribed: tuple[str, ...] = ()
        self._assigned: set[Place] = set()
        self._joined = False
        self._waits: dict[Place, _Wait] = {}
        self._absent: dict[str, str] = {}
        self._held = ""
        """Why no topics are known."""
        self._positions: dict[Place, int] = {}
        """All in front of them is in Kafka, and the group does not know it yet."""
        self._committed_at = monotonic()
        self._stopped = threading.Event()
        self._failed: Callable[[BaseException], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="connect", daemon=True)

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begin. ``failed`` hears of whatever ends the thread early."""
        self._failed = failed
        self._thread.start()

    def close(self) -> None:
        """Bring the batch in hand to its end, keep the positions, leave the group. Blocks."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def waiting(self) -> dict[str, str]:
        """Return what keeps it from reading, by name; may be asked by any thread."""
        found = {"catalog": self._held} if self._held else {}
        if self._subscribed and not self._joined:
            found["group"] = "partitions are being assigned"
        found |= {f"topic {topic}": why for topic, why in list(self._absent.items())}
        return found | {
            f"{place.topic}-{place.partition}": wait.why
            for place, wait in list(self._waits.items())
        }

    # ------------------------------------------------------------------------- thread

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._subscribe()
                self._resume()
                self._take(self._consumer.consume(BATCH, POLL_S))
                if monotonic() - self._committed_at >= COMMIT_S:
                    self._commit(self._positions)
                    self._measure()
        except BaseException as error:  # noqa: BLE001 - handed to the event loop, which ends the role
            self._failed(error)
        finally:
            self._commit(self._positions)
            self._consumer.close()

    def _subscribe(self) -> None:
        try:
            wanted = tuple(sorted(self._topics()))
        except UnavailableError as missing:
            # With what was known before it goes on; before the first catalog there is nothing.
            self._held = str(missing)
            return
        self._held = ""
        if wanted == self._subscribed:
            return
        _log.info("reading topics", topics=list(wanted))
        self._absent.clear()
        if wanted:
            self._consumer.subscribe(
                list(wanted),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        else:
            self._consumer.unsubscribe()
        self._subscribed = wanted

    def _take(self, messages: Sequence[Message]) -> None:
        batch = _Batch()
        for message in messages:
            if error := message.error():
                self._complain(message.topic() or "", error)
                continue
            place = Place(message.topic() or "", message.partition() or 0)
            if place in self._waits or place not in self._assigned:
                continue  # behind one that waits: read again after it
            offset = message.offset() or 0
            batch.begins.setdefault(place, offset)
            try:
                found = self._records(_incoming(message))
            except UnavailableError as away:
                self._wait(place, offset, str(away))
                continue
            for one in found:
                self._produce(one, batch)
            batch.ends[place] = offset + 1
        if batch.ends:
            self._settle(batch)

    def _complain(self, topic: str, error: KafkaError) -> None:
        if error.fatal():
            raise FatalError(f"the consumer cannot go on: {error.str()}")
        if topic:
            self._absent[topic] = error.str()
        _log.warning("a topic cannot be read", topic=topic, error=error.str())

    def _produce(self, record: Outgoing, batch: _Batch) -> None:
        while batch.error is None:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    timestamp=record.timestamp,
                    on_delivery=batch.delivered,
                )
            except BufferError:
                self._producer.poll(_FULL_S)  # the queue is full: wait for room
                if self._stopped.is_set():
                    batch.abandoned = True
                    return
            except KafkaException as refusal:
                # A grant or a topic was taken away: known from the last answer, refused at once.
                batch.error = refusal.args[0]
            else:
                self._producer.poll(0)
                return

    def _settle(self, batch: _Batch) -> None:
        """Wait until Kafka has the batch; else set its partitions back."""
        deadline = 0.0
        while self._producer.flush(_FLUSH_S):
            if self._stopped.is_set():
                deadline = deadline or monotonic() + STOP_S
                if monotonic() > deadline:
                    _log.warning("Kafka has not acknowledged all: the next process reads it again")
                    return
        if batch.abandoned:
            return
        if batch.error is None:
            self._positions |= batch.ends
            return
        if batch.error.fatal():
            raise FatalError(f"the producer cannot go on: {batch.error.str()}")
        _log.warning("events were not taken; they are sent again", error=batch.error.str())
        for place in batch.ends:
            self._wait(place, batch.begins[place], f"Kafka takes no events: {batch.error.str()}")

    def _wait(self, place: Place, offset: int, why: str) -> None:
        at = TopicPartition(place.topic, place.partition, offset)
        self._consumer.pause([at])
        self._consumer.seek(at)
        self._waits[place] = _Wait(why, monotonic() + RETRY_S)
        metrics.connect_waiting.labels(place.topic).set(self._waiting_of(place.topic))

    def _resume(self) -> None:
        now = monotonic()
        due = [place for place, wait in self._waits.items() if wait.until <= now]
        for place in due:
            self._consumer.resume([TopicPartition(*place)])
            self._forget_wait(place)

    def _forget_wait(self, place: Place) -> None:
        if self._waits.pop(place, None):
            metrics.connect_waiting.labels(place.topic).set(self._waiting_of(place.topic))

    def _waiting_of(self, topic: str) -> int:
        return sum(place.topic == topic for place in self._waits)

    def _commit(self, positions: dict[Place, int]) -> None:
        self._committed_at = monotonic()
        if not positions:
            return
        told = [TopicPartition(*place, offset) for place, offset in positions.items()]
        try:
            self._consumer.commit(offsets=told, asynchronous=False)
        except KafkaException as error:
            # Told again with the next ones; or the partition moved, and its next owner reads again.
            _log.warning("positions are not kept yet", error=error.args[0].str())
        else:
            for place in list(positions):
                self._positions.pop(place, None)

    def _measure(self) -> None:
        for place in self._assigned:
            at = TopicPartition(*place)
            _, end = self._consumer.get_watermark_offsets(at, cached=True)
            (here,) = self._consumer.position([at])
            if end >= 0 and here.offset >= 0:
                lag = metrics.connect_lag_records.labels(place.topic, str(place.partition))
                lag.set(max(0, end - here.offset))

    # ---------------------------------------------------------------------- rebalances

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._joined = True
        self._assigned |= {Place(one.topic, one.partition) for one in partitions}
        for one in partitions:
            self._absent.pop(one.topic, None)
        consumer.incremental_assign(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [Place(one.topic, one.partition) for one in partitions]
        self._commit({one: self._positions[one] for one in places if one in self._positions})
        self._drop(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, partitions)

    def _drop(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            place = Place(one.topic, one.partition)
            self._assigned.discard(place)
            self._positions.pop(place, None)
            self._forget_wait(place)
            metrics.connect_lag_records.remove(place.topic, str(place.partition))
        consumer.incremental_unassign(partitions)


def group_of(settings: Settings) -> str:
    """Return the name of the consumer group."""
    return f"{settings.app.id}-connect"


def _incoming(message: Message) -> Incoming:
    sent = message.headers() or []
    kind, at = message.timestamp()
    return Incoming(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        at if kind and at >= 0 else None,
        message.key(),
        message.value(),
        [
            (name, value.encode() if isinstance(value, str) else value or b"")
            for name, value in (sent.items() if isinstance(sent, dict) else sent)
        ],
    )
