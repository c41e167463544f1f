"""The sink's consumer: group membership, rebalances, decoding, back-pressure; a thread of its own.

Rebalances are cooperative: only partitions that move stand still. A partition that is assigned is
opened (the former owner fenced, its ledger read) before its first record is asked for.

The client is touched by this thread alone: a call from another one waits until ``consume`` happens
to let it in, which may be never. What others need is kept (``membership``) or asked (``confirm``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from orchestrator.codec import Codec
from orchestrator.errors import DecodeError
from orchestrator.kafka.clients import consumer_config
from orchestrator.kafka.dead_letters import dead_letter_headers, fitted
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.topics import Topology
from orchestrator.observability import get_logger, metrics
from orchestrator.records import Action
from orchestrator.settings import Settings
from orchestrator.sinks.lanes import Item
from orchestrator.sinks.ledger import Write

HIGH = 2_000
"""Items of one partition in memory above which it is paused ..."""
LOW = 1_000
"""... and below which it is resumed."""
SESSION_MS = 10_000
"""A killed sink's messages wait this long for another to take over."""
HEARTBEAT_S = 3.0
"""librdkafka's default between two heartbeats."""
_BATCH = 500
_POLL_S = 0.1
_log = get_logger(__name__)


class Owner(Protocol):
    """Who works on the partitions. Called from the reader's thread; may block.

    ``meanwhile`` is to be called now and then during that: partitions that go on, or come to their
    end, may have a question.
    """

    def opened(self, partitions: Sequence[int], meanwhile: Callable[[], None]) -> Mapping[int, int]:
        """Open partitions; return the position of each."""
        ...

    def revoked(
        self, partitions: Sequence[int], meanwhile: Callable[[], None], *, lost: bool
    ) -> None:
        """Bring partitions to an end; ``lost``: somebody else may have them already."""
        ...

    def feed(self, partition: int, items: Sequence[Item]) -> None:
        """Take what was read."""
        ...

    def backlog(self, partition: int) -> int:
        """Return how many items of a partition are in memory."""
        ...


class Reader:
    """See the module docstring."""

    def __init__(self, settings: Settings, codec: Codec, channel: str) -> None:
        topology = Topology(settings)
        self.topic = topology.name("actions", channel)
        self._dead_letters = topology.name("dead-letters")
        self._log_clock = topology.log_clock
        self._role = f"deliver-{channel}"
        self._codec = codec
        session_ms = int(settings.kafka.get("session.timeout.ms", SESSION_MS))
        self.session_s = session_ms / 1000
        self._consumer = Consumer(
            consumer_config(
                settings,
                f"{settings.app.id}-{self._role}",
                **{
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": session_ms,
                },
            )
        )
        self._questions: SimpleQueue[tuple[TopicPartition, Future[bool]]] = SimpleQueue()
        self._membership: object = None
        self._owner: Owner | None = None
        self._assigned: set[int] = set()
        self._paused: set[int] = set()
        self._stopped = threading.Event()
        self._failed: Callable[[BaseException], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name=self._role, daemon=True)

    def start(self, owner: Owner, failed: Callable[[BaseException], None]) -> None:
        """Join the group. ``failed`` hears of whatever ends the thread early."""
        self._owner, self._failed = owner, failed
        self._thread.start()

    def close(self) -> None:
        """Leave the group; partitions are revoked on the way. Blocks."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def membership(self) -> object:
        """Return the group's metadata as of the last fetch."""
        return self._membership

    def confirm(self, partition: int, position: int) -> Future[bool]:
        """Ask whether the group still counts us in; only then may a ledger be opened again.

        A zombie that fenced first and asked later would stop the rightful owner. The question is a
        commit of ``position``, where the ledger stands anyway.
        """
        answer: Future[bool] = Future()
        self._questions.put((TopicPartition(self.topic, partition, position), answer))
        return answer

    # ------------------------------------------------------------------------- thread

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self.topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not self._stopped.is_set():
                self._read()
                self._membership = self._consumer.consumer_group_metadata()
                self._answer()
        except BaseException as error:  # noqa: BLE001 - handed to the event loop, which ends the role
            self._failed(error)
        finally:
            self._consumer.close()

    def _read(self) -> None:
        items: dict[int, list[Item]] = {}
        for message in self._consumer.consume(_BATCH, _POLL_S):
            if error := message.error():
                if error.fatal():
                    raise KafkaException(error)
                _log.warning("action topic", error=error.str())
                continue
            items.setdefault(message.partition() or 0, []).append(self._item(message))
        for partition, read in items.items():
            if partition in self._assigned:
                self._owned.feed(partition, read)
        self._press_back()

    def _answer(self) -> None:
        while not self._questions.empty():
            at, answer = self._questions.get()
            try:
                self._consumer.commit(offsets=[at], asynchronous=False)
            except KafkaException:
                ours = False
            else:
                ours = at.partition in self._assigned
            if answer.set_running_or_notify_cancel():
                answer.set_result(ours)

    def _press_back(self) -> None:
        for partition in self._assigned:
            backlog = self._owned.backlog(partition)
            if backlog > HIGH and partition not in self._paused:
                self._consumer.pause([TopicPartition(self.topic, partition)])
                self._paused.add(partition)
            elif backlog < LOW and partition in self._paused:
                self._consumer.resume([TopicPartition(self.topic, partition)])
                self._paused.discard(partition)

    def _item(self, message: Message) -> Item:
        offset, value = message.offset() or 0, message.value()
        try:
            record = decode_blocking(self._codec, value or b"", self._stopped)
        except DecodeError as error:
            return self._poison(message, offset, error.cause, str(error))
        if isinstance(record, Action) and record.kind != "unknown":
            return Item(offset, record)
        if isinstance(record, Action):
            return self._poison(message, offset, "unknown_kind", "of a newer version: upgrade")
        return self._poison(message, offset, "wrong_record", f"a {type(record).__name__}")

    def _poison(self, message: Message, offset: int, cause: str, text: str) -> Item:
        metrics.dead_letters.labels(self._role, cause).inc()
        sent = message.headers() or []
        original = [
            (name, value.encode() if isinstance(value, str) else value or b"")
            for name, value in (sent.items() if isinstance(sent, dict) else sent)
        ]
        headers = dead_letter_headers(
            self._role,
            cause,
            text,
            topic=self.topic,
            partition=message.partition() or 0,
            offset=offset,
            original=original,
        )
        at = message.timestamp()[1] if self._log_clock else 0
        value, told = fitted(message.key(), message.value(), headers)
        write = Write(self._dead_letters, message.key(), value, list(told), timestamp=at)
        return Item(offset, None, write)

    @property
    def _owned(self) -> Owner:
        assert self._owner is not None  # noqa: S101 - set before the thread starts
        return self._owner

    # ---------------------------------------------------------------------- rebalances

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership = consumer.consumer_group_metadata()
        positions = self._owned.opened([one.partition for one in partitions], self._answer)
        for one in partitions:
            one.offset = positions[one.partition]
        consumer.incremental_assign(partitions)
        self._membership = consumer.consumer_group_metadata()
        self._assigned |= positions.keys()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, partitions, lost=False)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(consumer, partitions, lost=True)

    def _drop(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Give partitions up. Until this returns they are ours, unless they are lost.

        The last outcomes are written here: under the new generation, which a transaction of the old
        one does not survive.
        """
        numbers = [one.partition for one in partitions]
        if lost:
            self._assigned.difference_update(numbers)
        self._membership = consumer.consumer_group_metadata()
        self._owned.revoked(numbers, self._answer, lost=lost)
        self._assigned.difference_update(numbers)
        self._paused.difference_update(numbers)
        consumer.incremental_unassign(partitions)
