"""One producer for all requests: many records, one future, all on the event loop's own thread.

librdkafka batches and sends by itself. Its reports are taken in by the loop, a burst at a time, while
anything is on its way: a thread of their own would fight the loop for the interpreter at every record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orchestrator.errors import BrokerUnavailable, FatalError
from orchestrator.kafka.clients import producer_config
from orchestrator.settings import Settings

DELIVERY_MS = 15_000
"""A caller waits at most this long for Kafka; then it is told to come again."""
QUEUE_KBYTES = 65_536
FLUSH_S = 20.0
_BUSY_S = 0.001
_SLOW_S = 0.02
"""Reports are looked for so often while some are awaited; slowly where Kafka does not answer."""
_IDLE_S = 0.5
"""So often otherwise: the client tells of errors only when it is asked."""
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
        if error is not None:
            self.error = self.error or error
        self.missing -= 1
        if self.missing:
            return
        self.owner.reported += 1
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(BrokerUnavailable(self.error.str()))


class EventProducer:
    """Idempotent, acks=all. It belongs to the event loop on which it was made."""

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
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._open = 0
        self.reported = 0
        """Requests whose last report has come since the last look."""
        self._pause = _IDLE_S
        self._looking: set[asyncio.Task[None]] = set()
        self._producer = Producer(config)
        self._timer = self._loop.call_later(_IDLE_S, self._serve)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return when Kafka has acknowledged all records.

        Raises:
            BrokerUnavailable: At least one was not acknowledged; the caller repeats them all.
        """
        if not records:
            return
        if self._failed.done():
            raise BrokerUnavailable("the Kafka client has failed, and this process is about to end")
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
                self._refused(record.topic, error.args[0])
                raise BrokerUnavailable(error.args[0].str()) from error
        self._open += 1
        if self._pause != _BUSY_S:
            self._again(_BUSY_S)
        await batch.future

    async def failure(self) -> None:
        """Wait until the client can produce nothing any more, if ever.

        Raises:
            FatalError: An idempotent producer has lost count of what the broker has; only a new
                process has a new producer id and clean queues.
        """
        await asyncio.shield(self._failed)

    async def close(self) -> None:
        """Wait for what is on its way, then stop."""
        await asyncio.gather(*self._looking)
        self._timer.cancel()
        deadline = self._loop.time() + FLUSH_S
        self._take_in()
        while len(self._producer) and self._loop.time() < deadline and not self._failed.done():
            # Reports wake requests, so they are taken in here and not in another thread.
            await asyncio.sleep(_BUSY_S)
            self._take_in()
        if self._failed.done():
            self._failed.exception()  # whoever wanted to know was told
        else:
            self._failed.cancel()

    def _take_in(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as error:
            # What the client raises here, rather than tells, is fatal.
            self._fail(error.args[0])

    def _serve(self) -> None:
        """Take in the reports that there are; look again soon if there will be more."""
        self._take_in()
        reported, self.reported = self.reported, 0
        self._open -= reported
        if not self._open:
            self._again(_IDLE_S)
        elif reported:
            self._again(_BUSY_S)
        else:
            self._again(min(max(self._pause, _BUSY_S) * 1.25, _SLOW_S))

    def _again(self, pause: float) -> None:
        self._pause = pause
        self._timer.cancel()
        self._timer = self._loop.call_later(pause, self._serve)

    def _fail(self, error: KafkaError) -> None:
        if not self._failed.done():
            text = f"the Kafka client cannot produce any more: {error.str()}"
            self._failed.set_exception(FatalError(text))

    def _refused(self, topic: str, error: KafkaError) -> None:
        """Look at a topic anew that the client takes for lost; by itself it would in a minute."""
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - that is its name
            self._take_in()  # which tells what it was
        elif not self._looking:
            task = self._loop.create_task(asyncio.to_thread(self._look_again, topic))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    def _look_again(self, topic: str) -> None:
        with suppress(KafkaException):  # the next refused record asks again
            self._producer.list_topics(topic, timeout=_LOOK_S)
