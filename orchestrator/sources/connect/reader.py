"""The consumer of ``connect``: read, map, produce, wait for Kafka, and only then keep the position.

One thread does all of it, batch by batch, so at any instant all that is in flight is one batch: a
rebalance or a kill finds either a position behind which everything is in Kafka, or records that are
read again and come to the same event ids. A record that cannot be judged now (its schema is not
there) is not passed over: it is held with those behind it, its partition pauses, the others go on.
While Kafka takes no events the batch in hand is written again and again, and nothing is read.

Positions are told without waiting for the answer, and none is ever sought: calls of the client that
wait without a limit did so for ever when a broker was killed. Only who leaves waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    """Why a partition stands still, until when, and what was read of it."""

    why: str
    until: float
    held: list[Message]


@dataclass(slots=True)
class _Reports:
    """Kafka's word on a batch; ``error``: not all of it was taken."""

    error: KafkaError | None = None

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
                    "on_commit": self._committed,
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
        self._unknown = ""
        """Why no topics are known."""
        self._refused = ""
        """Why Kafka takes no events."""
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
        found = {"catalog": self._unknown} if self._unknown else {}
        if self._refused:
            found["kafka"] = self._refused
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
                self._try_again()
                self._take(self._consumer.consume(BATCH, POLL_S))
                if monotonic() - self._committed_at >= COMMIT_S:
                    self._commit(self._positions)
                    self._measure()
        except BaseException as error:  # noqa: BLE001 - handed to the event loop, which ends the role
            self._failed(error)
        finally:
            self._commit(self._positions, wait=True)
            self._consumer.close()

    def _subscribe(self) -> None:
        try:
            wanted = tuple(sorted(self._topics()))
        except UnavailableError as missing:
            # With what was known before it goes on; before the first catalog there is nothing.
            self._unknown = str(missing)
            return
        self._unknown = ""
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
        sound: list[Message] = []
        for message in messages:
            if error := message.error():
                self._complain(message.topic() or "", error)
            elif _place(message) in self._assigned:
                sound.append(message)
        self._work(sound)

    def _work(self, messages: Iterable[Message]) -> None:
        made: list[Outgoing] = []
        ends: dict[Place, int] = {}
        for message in messages:
            place = _place(message)
            if wait := self._waits.get(place):
                wait.held.append(message)  # its turn comes after the one that waits
                continue
            try:
                made += self._records(_incoming(message))
            except UnavailableError as away:
                self._hold(place, message, str(away))
                continue
            ends[place] = (message.offset() or 0) + 1
        if ends and self._write(made):
            self._positions |= ends

    def _complain(self, topic: str, error: KafkaError) -> None:
        if error.fatal():
            raise FatalError(f"the consumer cannot go on: {error.str()}")
        if topic:
            self._absent[topic] = error.str()
        _log.warning("a topic cannot be read", topic=topic, error=error.str())

    def _write(self, records: Sequence[Outgoing]) -> bool:
        """Return True when Kafka has all records; False: a stop came before."""
        while True:
            reports = _Reports()
            handed_over = all(self._produce(one, reports) for one in records)
            if not self._flushed() or (self._stopped.is_set() and not handed_over):
                _log.warning("Kafka has not acknowledged all: the next process reads it again")
                return False
            if reports.error is None:
                self._tell_refusal("")
                return True
            if reports.error.fatal():
                raise FatalError(f"the producer cannot go on: {reports.error.str()}")
            self._tell_refusal(f"it takes no events: {reports.error.str()}")
            if self._stopped.wait(RETRY_S):
                return False

    def _produce(self, record: Outgoing, reports: _Reports) -> bool:
        """Return whether the record was handed over; if not, a stop or an error came before."""
        while reports.error is None:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    timestamp=record.timestamp,
                    on_delivery=reports.delivered,
                )
            except BufferError:
                self._producer.poll(_FULL_S)  # the queue is full: wait for room
                if self._stopped.is_set():
                    return False
            except KafkaException as refusal:
                # A grant or a topic was taken away: known from the last answer, refused at once.
                reports.error = refusal.args[0]
            else:
                self._producer.poll(0)
                return True
        return False

    def _flushed(self) -> bool:
        """Wait for all reports; False: a stop does not wait longer."""
        deadline = 0.0
        while self._producer.flush(_FLUSH_S):
            if self._stopped.is_set():
                deadline = deadline or monotonic() + STOP_S
                if monotonic() > deadline:
                    return False
        return True

    def _tell_refusal(self, why: str) -> None:
        if why:
            _log.warning("events are written again", error=why)
        if why != self._refused:
            self._refused = why
            for topic in {place.topic for place in self._assigned}:
                self._tell_waiting(topic)

    def _hold(self, place: Place, message: Message, why: str) -> None:
        self._consumer.pause([TopicPartition(*place)])
        self._waits[place] = _Wait(why, monotonic() + RETRY_S, [message])
        self._tell_waiting(place.topic)

    def _try_again(self) -> None:
        now = monotonic()
        for place in [place for place, wait in self._waits.items() if wait.until <= now]:
            self._work(self._waits.pop(place).held)
            if place not in self._waits:
                self._consumer.resume([TopicPartition(*place)])
                self._tell_waiting(place.topic)

    def _tell_waiting(self, topic: str) -> None:
        waiting = self._assigned if self._refused else self._waits.keys()
        count = sum(place.topic == topic for place in waiting)
        metrics.connect_waiting.labels(topic).set(count)

    def _commit(self, places: Iterable[Place], *, wait: bool = False) -> None:
        """Tell the group the positions of ``places``; ``wait`` for its answer only when leaving."""
        told = [
            TopicPartition(*place, self._positions.pop(place))
            for place in [*places]
            if place in self._positions
        ]
        self._committed_at = monotonic()
        if not told:
            return
        try:
            if wait:
                self._consumer.commit(offsets=told, asynchronous=False)
            else:
                self._consumer.commit(offsets=told)
        except KafkaException as error:
            self._committed(error.args[0], told)

    def _committed(self, error: KafkaError | None, told: list[TopicPartition]) -> None:
        if error is None:
            return
        # Told again with the next ones; or the partition moved, and its next owner reads again.
        _log.warning("positions are not kept yet", error=error.str())
        for one in told:
            place = Place(one.topic, one.partition)
            if place in self._assigned:
                self._positions.setdefault(place, one.offset)

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
        self._commit([Place(one.topic, one.partition) for one in partitions], wait=True)
        self._drop(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, partitions)

    def _drop(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            place = Place(one.topic, one.partition)
            self._assigned.discard(place)
            self._positions.pop(place, None)
            self._waits.pop(place, None)  # whoever gets it reads from the group's position
            self._tell_waiting(place.topic)
            metrics.connect_lag_records.remove(place.topic, str(place.partition))
        consumer.incremental_unassign(partitions)


def group_of(settings: Settings) -> str:
    """Return the name of the consumer group."""
    return f"{settings.app.id}-connect"


def _place(message: Message) -> Place:
    return Place(message.topic() or "", message.partition() or 0)


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
