"""What a watcher sees of a running deployment: timeline, decisions and actions, as committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from orchestrator.codec import open_codec
from orchestrator.errors import CouldNotRun, SchemaNotLoaded
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.records import Action, Decision, Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.settings import Settings

PATIENCE_S: Final = 60.0
"""How long one step of a story may take on a loaded machine before it counts as failed."""


FOLLOWED: Final = frozenset({"timeline", "decisions", "actions"})
_BATCH: Final = 500
_POLL_S: Final = 0.05


class Observer:
    """Follows a deployment; in log clock mode it is also its clock: only it writes ticks.

    Args:
        settings: The deployment.
        logical: The topics to follow.
    """

    def __init__(self, settings: Settings, logical: frozenset[str] = FOLLOWED) -> None:
        topology = Topology(settings)
        self._timeline = topology.name("timeline")
        self._codec = open_codec(settings)
        self._consumer = Consumer(consumer_config(settings, f"{settings.app.id}-demo"))
        self._consumer.assign(
            [
                TopicPartition(spec.name, partition, 0)
                for spec in topology.specs()
                if spec.logical in logical
                for partition in range(spec.partitions)
            ]
        )
        self._producer = Producer(producer_config(settings))
        self.events: list[Event] = []
        """On the timeline so far."""
        self.decisions: list[Decision] = []
        self.actions: list[Action] = []

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
            self.poll(_POLL_S)

    def poll(self, seconds: float) -> None:
        """Take what comes within ``seconds``; returns early with a full batch."""
        for message in self._consumer.consume(_BATCH, seconds):
            value: Any = message.value()
            if message.error() is None and value is not None:
                self._take(value)

    def wait_event(self, type_: str, count: int = 1, customer: str | None = None) -> Event:
        """Return the latest event of a type once the timeline has ``count`` of them."""

        def found() -> list[Event]:
            return [
                event
                for event in self.events
                if event.type == type_ and customer in {None, *event.identities.values()}
            ]

        self.wait(f"{count} x {type_} on the timeline", lambda: len(found()) >= count)
        return found()[-1]

    def wait_decision(
        self, outcome: str, subject: str, channel: str | None = None, customer: str | None = None
    ) -> Decision:
        """Return the latest decision with this outcome on this message, or for a movement journey."""

        def found() -> list[Decision]:
            return [
                one
                for one in self.decisions
                if one.outcome == outcome
                and subject in {one.message, one.journey}
                and channel in {None, one.channel}
                and customer in {None, one.customer_id}
            ]

        self.wait(f"{outcome} {subject}", lambda: bool(found()))
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
            case Action():
                self.actions.append(record)
            case _:
                pass
