"""The one plain producer of a process that appends ticks: records without key and value."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orchestrator.engine.clock import wall_ms
from orchestrator.engine.ports import TaskId, TickSender
from orchestrator.engine.task import PartitionTask
from orchestrator.observability import get_logger

MESSAGE_TIMEOUT_MS = 5_000
METADATA_S = 5.0
IDLE_POLL_S = 1.0
"""Between two looks at what the client reports while no tick is under way: each look gives the
interpreter away, in the middle of the engine's loop."""
_log = get_logger(__name__)


class KafkaTicks:
    """Not idempotent: a doubled tick is harmless, and idempotence brings fatal states.

    Args:
        config: librdkafka's.
        sources: Stage -> the topic that it reads.
    """

    def __init__(self, config: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._awaited = 0
        self._polled = 0.0
        self._producer = Producer(
            {
                **config,
                "enable.idempotence": False,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": MESSAGE_TIMEOUT_MS,
                "queue.buffering.max.messages": 1_000,
            }
        )

    def warm(self) -> None:
        """Ask for metadata now, not in front of the first tick (0.5 s). Blocks."""
        for topic in self._sources.values():
            try:
                self._producer.list_topics(topic, timeout=METADATA_S)
            except KafkaException:
                return  # the first tick will ask again

    def send(self, task: TaskId, done: Callable[[int | None, int], None]) -> None:
        """Append a tick; ``done`` is called from ``poll``."""

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._awaited -= 1
            if error is not None:
                done(None, 0)
            else:
                done(message.offset(), message.timestamp()[1])

        try:
            self._producer.produce(
                self._sources[task.stage], partition=task.partition, on_delivery=on_delivery
            )
        except (BufferError, KafkaException):
            done(None, 0)
        else:
            self._awaited += 1

    def poll(self) -> None:
        """Let acknowledgements in."""
        now = time.monotonic()
        if self._awaited or now - self._polled >= IDLE_POLL_S:
            self._polled = now
            self._producer.poll(0)


def send_tick(sender: TickSender, core: PartitionTask, mono: float) -> None:
    """Append a tick to the partition of ``core``; its acknowledgement tells the broker's clock."""

    def done(offset: int | None, log_time: int) -> None:
        if offset is None:
            core.tick.failed(mono)
            return
        core.tick.acknowledged(offset, mono)
        if core.clock.acknowledged(log_time, wall_ms(), time.monotonic() - mono):
            _log.warning("clocks differ", task=str(core.id), ms=round(core.clock.offset))

    core.tick.sent(mono)
    sender.send(core.id, done)


class NoTicks:
    """Clock mode ``log``: only the driver writes ticks."""

    def warm(self) -> None:
        """Nothing to do."""

    def send(self, task: TaskId, done: Callable[[int | None, int], None]) -> None:
        """Refuse."""
        raise NotImplementedError(f"{task}: the log's driver writes the ticks")

    def poll(self) -> None:
        """Nothing to do."""
