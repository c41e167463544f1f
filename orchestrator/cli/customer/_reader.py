"""A customer read from Kafka: the state from its changelog, the decisions from their topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.codec import open_codec
from orchestrator.errors import CouldNotRun
from orchestrator.identities import normalise
from orchestrator.kafka.decoding import decode_now
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Decision
from orchestrator.stages.decide import state as customers
from orchestrator.stages.identify import state as identities

if TYPE_CHECKING:
    from orchestrator.settings import Settings

DUE_BYTES = 8
MAX_REDIRECTS = 32


class Found(Struct, kw_only=True):
    """What Kafka says of one customer; ``path`` is how the name asked for led there."""

    customer_id: str
    path: list[str]
    state: customers.Customer
    decisions: list[Decision]


class CustomerReader:
    """Reads the partition of a customer; nothing else is touched."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topology = Topology(settings)

    def find(self, name: str) -> Found:
        """Return the customer called ``name``: a customer id, or an identity ``kind:value``.

        Raises:
            CouldNotRun: Nobody is known by that name.
            BrokerUnavailable: Kafka does not answer.
        """
        path, state = self.follow(name)
        if state is None:
            raise CouldNotRun(f"no customer or identity {name!r} is known here")
        return Found(
            customer_id=path[-1],
            path=path,
            state=state,
            decisions=self._decisions({*path, *state.merged}),
        )

    def follow(self, name: str) -> tuple[list[str], customers.Customer | None]:
        """Return how ``name`` leads to a customer, the id last, and their state if there is one.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        path = [name]
        customer_id = name
        state = self._state(customer_id)
        if state is None and ":" in name:
            owner = self._identity(name)
            if owner:
                customer_id = owner
                path.append(owner)
                state = self._state(owner)
        while state is not None and state.redirect and len(path) < MAX_REDIRECTS:
            customer_id = state.redirect
            path.append(customer_id)
            state = self._state(customer_id)
        return path, state

    def _row(self, table: str, key: str, placed_by: str) -> bytes | None:
        partition = partition_for(placed_by.encode(), self._topology.partitions("timeline"))
        value = None
        topic = self._topology.changelog(table)
        for message in read_partition(self._settings, topic, partition):
            if message.key() == key.encode():
                value = message.value()
        return value[DUE_BYTES:] if value else None

    def _state(self, customer_id: str) -> customers.Customer | None:
        row = self._row("customers", customer_id, customer_id)
        return customers.decode(row) if row is not None else None

    def _identity(self, identity: str) -> str | None:
        kind, _, value = identity.partition(":")
        identity = f"{kind}:{normalise(kind, value)}"
        key = identities.row_key(self._settings.app.id, identity)
        row = self._row("identities", key, identity)
        return identities.decode(row).customer_id if row is not None else None

    def _decisions(self, customer_ids: set[str]) -> list[Decision]:
        codec = open_codec(self._settings)
        topic = self._topology.name("decisions")
        count = self._topology.partitions("decisions")
        keys = {customer_id.encode() for customer_id in customer_ids}
        found = []
        for partition in sorted({partition_for(key, count) for key in keys}):
            for message in read_partition(self._settings, topic, partition):
                if message.key() in keys:
                    record = decode_now(codec, message.value() or b"")
                    if isinstance(record, Decision):
                        found.append(record)
        return found
