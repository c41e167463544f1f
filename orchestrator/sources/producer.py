"""One producer for all requests: many records, one future, no thread for an event.

librdkafka batches by itself; a thread serves its delivery reports and wakes the event loop once for
all requests that a burst of reports has completed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orchestrator.errors import BrokerUnavailable
from orchestrator.kafka.clients import producer_config
from orchestrator.settings import Settings

DELIVERY_MS = 15_000
"""A caller waits at most this long for Kafka; then it is told to come again."""
QUEUE_KBYTES = 65_536
FLUSH_S = 20.0
_POLL_S = 0.1
_LOOK_S = 2.0


class Outgoing(NamedTuple):
    """One record. ``timestamp`` 0 = now; ``partition`` -1 = by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]
    timestamp: int = 0
    partition: int = -1


class _Batch:
    """The records of one request; done when Kafka has answered for each of them."""

    __slots__ = ("error", "future", "missing", "owner")

    def __init__(self, owner: EventProducer, count: int, future: asyncio.Future[None]) -> None:
        self.owner = owner
        self.missing = count
        self.future = future
        self.error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        self.error = self.error or error
        self.missing -= 1
        if not self.missing:
            self.owner.completed(self)


class EventProducer:
    """Idempotent, acks=all. ``send`` belongs to the event loop on which it was made."""

    def __init__(self, settings: Settings) -> None:
        config = producer_config(
            settings,
            **{
                "delivery.timeout.ms": DELIVERY_MS,
                "queue.buffering.max.kbytes": QUEUE_KBYTES,
                # Every record of a request is waited for: lingering only adds to its time.
                "linger.ms": 1,
            },
        )
        self._producer = Producer(config)
        self._loop = asyncio.get_running_loop()
        self._done: deque[_Batch] = deque()
        self._waking = False
        self._refused: deque[str] = deque(maxlen=1)
        """A topic that the client takes for lost; it would look again after a minute only."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="deliveries", daemon=True)
        self._thread.start()

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return when Kafka has acknowledged all records.

        Raises:
            BrokerUnavailable: At least one was not acknowledged; the caller repeats them all.
        """
        if not records:
            return
        batch = _Batch(self, len(records), self._loop.create_future())
        produce = self._producer.produce
        for record in records:
            try:
                produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    timestamp=record.timestamp,
                    partition=record.partition,
                    on_delivery=batch.delivered,
                )
            except BufferError as error:
                # What is on its way already is repeated by the caller under the same ids.
                raise BrokerUnavailable("the producer's queue is full") from error
            except KafkaException as error:
                # A grant or a topic was taken away: known from the last answer, refused at once.
                self._refused.append(record.topic)
                raise BrokerUnavailable(error.args[0].str()) from error
        await batch.future

    def completed(self, batch: _Batch) -> None:
        """Called by the delivery thread."""
        self._done.append(batch)
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._wake)

    async def close(self) -> None:
        """Wait for what is on its way, then stop."""
        await asyncio.to_thread(self._producer.flush, FLUSH_S)
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(_POLL_S)
            if self._refused:
                self._look_again(self._refused.pop())

    def _look_again(self, topic: str) -> None:
        with suppress(KafkaException):  # the next refused record asks again
            self._producer.list_topics(topic, timeout=_LOOK_S)

    def _wake(self) -> None:
        self._waking = False
        while self._done:
            batch = self._done.popleft()
            if batch.future.done():
                continue
            if batch.error is None:
                batch.future.set_result(None)
            else:
                batch.future.set_exception(BrokerUnavailable(batch.error.str()))
