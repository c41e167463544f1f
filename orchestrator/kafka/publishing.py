"""Putting a catalog in force: definitions first, then one Catalog record in every partition at once.

The second step is one transaction over all partitions of events, timeline and outcomes, so that no
worker ever sees a catalog that others will not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer

from orchestrator.codec import headers_for
from orchestrator.errors import CouldNotRun
from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.definitions import CATALOG_KEY, Definitions, read_definitions
from orchestrator.kafka.topics import Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.codec import Codec
    from orchestrator.kafka.topics import Logical
    from orchestrator.records import CatalogSwitch, Definition
    from orchestrator.settings import Settings

SWITCHED: Final[tuple[Logical, ...]] = ("events", "timeline", "outcomes")
"""The inputs of the stages: each of their partitions is told of a new catalog."""
WRITES: Final[tuple[Logical, ...]] = (*SWITCHED, "definitions")
TIMEOUT_S: Final = 30.0
BEGINNING_MS: Final = 1
"""The default log time of a catalog under ``clock.mode: log``: before everything.

(0 would mean "now" to the client.) Log time never runs back, so later catalogs at this time take
effect behind what is already there.
"""


class CatalogPublisher:
    """The one writer of catalogs: opening it stops any other that is still at work."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topology = Topology(settings)
        self._door = Doorkeeper(settings)
        self._producer = Producer(
            producer_config(
                settings,
                error_cb=self._door.hear,
                **{
                    "transactional.id": f"{settings.app.id}-catalog",
                    "transaction.timeout.ms": int(TIMEOUT_S * 1000),
                },
            )
        )

    def open(self) -> Definitions:
        """Fence other writers, then return what is in force: nobody changes it from here on.

        Raises:
            AccessRefused: The broker does not let us in, or not write catalogs.
            BrokerUnavailable: No broker answers.
        """
        try:
            self._producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            raise self._door.verdict("catalogs cannot be written", error, self._producer) from error
        return read_definitions(self._settings, self._codec)

    def publish(
        self, definitions: Iterable[Definition], switch: CatalogSwitch, at: int | None = None
    ) -> None:
        """Write ``definitions``, then ``switch`` to every partition.

        Args:
            definitions: Those that the topic does not hold yet.
            switch: The catalog.
            at: Its log time under ``clock.mode: log`` (epoch ms); the broker's clock needs none.

        Raises:
            CouldNotRun: The outcome is unknown or nothing was written; apply again to find out.
        """
        steps = [self._definitions(definitions), self._switch(switch, at)]
        try:
            for messages in steps:
                if messages:
                    self._transaction(messages)
        except KafkaException as error:
            raise CouldNotRun(
                f"the catalog may not be in force: {error.args[0].str()}; apply it again"
            ) from error

    def prune(self, hashes: Iterable[str]) -> None:
        """Remove definitions from their topic: tombstones, all or none.

        Raises:
            CouldNotRun: Another catalog was published meanwhile, or the outcome is unknown.
        """
        topic = self._topology.name("definitions")
        messages: list[dict[str, Any]] = [
            {"topic": topic, "partition": 0, "key": one.encode(), "value": None} for one in hashes
        ]
        try:
            if messages:
                self._transaction(messages)
        except KafkaException as error:
            raise CouldNotRun(
                f"perhaps nothing was removed: {error.args[0].str()}; prune again to find out"
            ) from error

    def _transaction(self, messages: list[dict[str, Any]]) -> None:
        # Everything is encoded by now: a transaction left open would hold up every timeline.
        self._producer.begin_transaction()
        for message in messages:
            self._producer.produce(**message)
        self._producer.commit_transaction(TIMEOUT_S)

    def _definitions(self, definitions: Iterable[Definition]) -> list[dict[str, Any]]:
        topic = self._topology.name("definitions")
        return [self._message(topic, 0, one, key=one.hash.encode()) for one in definitions]

    def _switch(self, switch: CatalogSwitch, at: int | None) -> list[dict[str, Any]]:
        messages = [
            self._message(self._topology.name(logical), partition, switch, at=at)
            for logical in SWITCHED
            for partition in range(self._topology.partitions(logical))
        ]
        copy = self._message(self._topology.name("definitions"), 0, switch, key=CATALOG_KEY, at=at)
        return [*messages, copy]

    def _message(
        self,
        topic: str,
        partition: int,
        record: CatalogSwitch | Definition,
        *,
        key: bytes | None = None,
        at: int | None = None,
    ) -> dict[str, Any]:
        return {
            "topic": topic,
            "partition": partition,
            "key": key,
            "value": self._codec.encode(record, topic),
            "headers": headers_for(record, self._settings.app.id),
            "timestamp": at or 0,  # 0 = now
        }
