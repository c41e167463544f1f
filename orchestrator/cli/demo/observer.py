"""What the demo sees of the running deployment: the timeline and the decisions, as committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from orchestrator.codec import open_codec
from orchestrator.errors import CouldNotRun, SchemaNotLoaded
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.records import Decision, Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.settings import Settings

PATIENCE_S: Final = 60.0
"""How long one step of a story may take on a loaded machine before it counts as failed."""


class Observer:
    """Follows a deployment in log clock mode, and is its clock: only it writes ticks."""

    def __init__(self, settings: Settings) -> None:
        topology = Topology(settings)
        self._timeline = topology.name("timeline")
        self._codec = open_codec(settings)
        self._consumer = Consumer(consumer_config(settings, f"{settings.app.id}-demo"))
        self._consumer.assign(
            [TopicPartition(topic, 0, 0) for topic in (self._timeline, topology.name("decisions"))]
        )
        self._producer = Producer(producer_config(settings))
        self.events: list[Event] = []
        """On the timeline so far."""
        self.decisions: list[Decision] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def tick(self, at: int) -> None:
        """Let log time reach ``at`` (epoch ms)."""
        self._producer.produce(self._timeline, partition=0, timestamp=at)
        self._producer.flush(PATIENCE_S)

    def wait(self, what: str, seen: Callable[[], bool]) -> None:
        """Read on until ``seen`` is true.

        Raises:
            CouldNotRun: It is not after a minute.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            if time.monotonic() > deadline:
                raise CouldNotRun(f"waited {PATIENCE_S:g} s in vain for {what}")
            for message in self._consumer.consume(500, 0.2):
                value: Any = message.value()
                if message.error() is None and value is not None:
                    self._take(value)

    def wait_event(self, type_: str, count: int = 1) -> Event:
        """Return the latest event of a type once the timeline has ``count`` of them."""

        def found() -> list[Event]:
            return [event for event in self.events if event.type == type_]

        self.wait(f"{count} x {type_} on the timeline", lambda: len(found()) >= count)
        return found()[-1]

    def wait_decision(self, outcome: str, message: str, channel: str | None = None) -> Decision:
        """Return the latest decision with this outcome on this message."""

        def found() -> list[Decision]:
            return [
                one
                for one in self.decisions
                if one.outcome == outcome
                and message in {one.message, one.journey}
                and channel in {None, one.channel}
            ]

        self.wait(f"{outcome} {message}", lambda: bool(found()))
        return found()[-1]

    def _take(self, value: bytes) -> None:
        try:
            record = self._codec.decode(value)
        except SchemaNotLoaded as missing:
            self._codec.load(missing.schema_id)
            record = self._codec.decode(value)
        match record:
            case Event():
                self.events.append(record)
            case Decision():
                self.decisions.append(record)
            case _:
                pass
