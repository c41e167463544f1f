"""The in-app inboxes of all customers, followed from their compacted topic.

Two kinds of records lie there, each with one kind of writer, so that none can undo the other's:

- key ``CUSTOMER``: the inbox, written by ``deliver inapp`` in its transactions;
- key ``CUSTOMER 0x1F ACTION``: a read mark, written by collectors: an Inbox with that one message
  and its ``read_at``. The next inbox takes it over; its tombstone follows.

Both go to the customer's partition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestrator.codec import Codec
from orchestrator.errors import DecodeError, RegistryUnavailable
from orchestrator.kafka.clients import consumer_config
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.topics import Topology
from orchestrator.observability import get_logger
from orchestrator.records import Inbox, InboxMessage
from orchestrator.settings import Settings

MARK = "\x1f"
_BATCH = 1_000
_POLL_S = 0.1
_METADATA_S = 10.0
_AGAIN_S = 0.2
_log = get_logger(__name__)


def mark_key(customer_id: str, action_id: str) -> str:
    """Return the key of a read mark."""
    return f"{customer_id}{MARK}{action_id}"


class InboxTable:
    """All inboxes in memory, as bytes, decoded when asked for. Its thread runs until ``close``."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self.topic = Topology(settings).name("inbox")
        self._codec = codec
        self._config = consumer_config(
            settings, f"{settings.app.id}-inbox", **{"enable.partition.eof": True}
        )
        self._inboxes: dict[str, Inbox] = {}
        self._marks: dict[str, dict[str, int]] = {}
        self._removals: dict[str, int] = {}
        self._watchers: dict[str, list[Callable[[], object]]] = {}
        self._reached: dict[int, int] = {}
        self._moved = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="inbox", daemon=True)
        self.partitions = 0
        self.error: BaseException | None = None

    def start(self) -> InboxTable:
        """Begin to follow the topic."""
        self._consumer = Consumer(self._config)
        # A consumer answers no question while another thread of ours waits in its ``consume``.
        self._asker = Consumer(self._config)
        topic = self._consumer.list_topics(self.topic, timeout=_METADATA_S).topics[self.topic]
        self.partitions = len(topic.partitions)
        if not self.partitions:
            raise KafkaException(topic.error)
        self._consumer.assign([TopicPartition(self.topic, p, 0) for p in topic.partitions])
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()
        self._asker.close()

    def catch_up(self, timeout: float) -> bool:
        """Wait until everything committed before this call has been read; blocks.

        False: that took longer, or nobody says how much it is.
        """
        deadline = monotonic() + timeout
        ends: dict[int, int] | None = None
        while ends is None:
            try:
                ends = self._ends()
            except KafkaException as error:
                # A topic that was just made, or a broker that just came back: no leader yet.
                _log.warning("the inboxes' topic does not answer", error=error.args[0].str())
                if self._stopped.wait(_AGAIN_S) or monotonic() > deadline:
                    return False
        with self._moved:
            return self._moved.wait_for(
                lambda: all(self._reached.get(p, 0) >= end for p, end in ends.items()),
                deadline - monotonic(),
            )

    def get(self, customer_id: str) -> Inbox | None:
        """Return a customer's inbox with the read marks laid over it."""
        with self._moved:
            inbox = self._inboxes.get(customer_id)
            marks = dict(self._marks.get(customer_id, {}))
        if inbox is None:
            return None
        messages = [_marked(one, marks.get(one.action_id)) for one in inbox.messages]
        return Inbox(customer_id=customer_id, messages=messages)

    def removals(self, customer_id: str) -> int:
        """Return how often the customer's inbox was removed: they asked to be forgotten."""
        with self._moved:
            return self._removals.get(customer_id, 0)

    def marks(self, customer_id: str) -> Sequence[str]:
        """Return the ids of the actions that have a read mark of their own."""
        with self._moved:
            return tuple(self._marks.get(customer_id, ()))

    @contextmanager
    def watching(self, customer_id: str, changed: Callable[[], object]) -> Iterator[None]:
        """Call ``changed`` from the table's thread whenever the customer's inbox may have changed."""
        with self._moved:
            self._watchers.setdefault(customer_id, []).append(changed)
        try:
            yield
        finally:
            with self._moved:
                watchers = self._watchers[customer_id]
                watchers.remove(changed)
                if not watchers:
                    del self._watchers[customer_id]

    def _ends(self) -> dict[int, int]:
        # Not the follower's own client: it answers other threads only between two polls, if at all.
        asking = Consumer(self._config)
        try:
            return {
                partition: asking.get_watermark_offsets(
                    TopicPartition(self.topic, partition), timeout=_METADATA_S
                )[1]
                for partition in range(self.partitions)
            }
        finally:
            asking.close()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            messages = self._consumer.consume(_BATCH, _POLL_S)
            if not messages:
                continue
            taken = [(message, self._decoded(message)) for message in messages]
            with self._moved:
                for message, inbox in taken:
                    self._take(message, inbox)
                self._moved.notify_all()
                told = {_customer(message) for message in messages} & self._watchers.keys()
                for customer_id in told:
                    for changed in self._watchers[customer_id]:
                        changed()

    def _decoded(self, message: Message) -> Inbox | None:
        value = message.value()
        if message.error() or value is None:
            return None
        try:
            record = decode_blocking(self._codec, value, self._stopped)
        except (DecodeError, RegistryUnavailable) as error:
            _log.error("an inbox cannot be read", offset=message.offset(), error=str(error))
            return None
        return record if isinstance(record, Inbox) else None

    def _take(self, message: Message, inbox: Inbox | None) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                self._reach(partition, offset)
            else:
                _log.warning("inbox topic", error=error.str())
            return
        self._reach(partition, (offset or 0) + 1)
        customer_id, marked, action_id = (message.key() or b"").decode().partition(MARK)
        if marked:
            self._take_mark(customer_id, action_id, inbox)
        elif inbox:
            self._inboxes[customer_id] = inbox
        elif message.value() is None:
            self._inboxes.pop(customer_id, None)
            self._removals[customer_id] = self._removals.get(customer_id, 0) + 1

    def _take_mark(self, customer_id: str, action_id: str, inbox: Inbox | None) -> None:
        if inbox and inbox.messages and (read_at := inbox.messages[0].read_at):
            self._marks.setdefault(customer_id, {})[action_id] = read_at
            return
        marks = self._marks.get(customer_id, {})
        marks.pop(action_id, None)
        if not marks:
            self._marks.pop(customer_id, None)

    def _reach(self, partition: int | None, offset: int | None) -> None:
        if partition is not None and offset is not None:
            self._reached[partition] = max(offset, self._reached.get(partition, 0))


def _customer(message: Message) -> str:
    return (message.key() or b"").decode().partition(MARK)[0]


def _marked(message: InboxMessage, read_at: int | None) -> InboxMessage:
    return msgspec.structs.replace(message, read_at=message.read_at or read_at)
