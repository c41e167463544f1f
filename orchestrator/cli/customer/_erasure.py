"""Everything that Kafka keeps of one customer for good: found, ordered away, watched until it is gone.

What topics forget by themselves is told by ``_retention.py``.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import KafkaException, Producer
from msgspec import Struct, field

from orchestrator import ids
from orchestrator.cli.customer._reader import DUE_BYTES
from orchestrator.codec import headers_for, open_codec
from orchestrator.errors import CouldNotRun
from orchestrator.identities import CUSTOMER
from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.inbox import MARK
from orchestrator.kafka.reading import PartitionReader
from orchestrator.kafka.topics import Topology
from orchestrator.records import Forget
from orchestrator.stages.decide import state as customers
from orchestrator.stages.identify import state as identities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

    from orchestrator.settings import Settings

FLUSH_S: Final = 30.0
LOOK_S: Final = 0.3


class Traces(Struct, kw_only=True):
    """Where a customer stands in what is kept for good. Keys of rows are hashes."""

    customer_ids: list[str]
    """The customer, then all who were merged into them."""
    states: list[str] = field(default_factory=list)
    """Those of ``customer_ids`` that have a state."""
    rows: list[tuple[int, str]] = field(default_factory=list)
    """(partition, key) of identities."""
    inbox: list[tuple[int, str]] = field(default_factory=list)
    """(partition, key) of the in-app inbox and its read marks."""

    @property
    def none(self) -> bool:
        """Whether there is nothing left."""
        return not (self.states or self.rows or self.inbox)


class Erasure:
    """Finds and orders; a context manager. Reads the changelogs once, and then only what is new.

    Raises, in all methods:
        AccessRefused: The broker does not let us in, or not read or write here.
        BrokerUnavailable: Kafka does not answer.
    """

    def __init__(self, settings: Settings, customer_id: str) -> None:
        self._settings = settings
        self._topology = Topology(settings)
        self._customer_id = customer_id
        self._ids: set[str] = {customer_id}
        self._redirects: dict[str, str] = {}
        self._states: set[str] = set()
        self._owners: dict[tuple[int, str], frozenset[str]] = {}
        self._inbox: set[tuple[int, str]] = set()
        self._readers: dict[tuple[str, int], PartitionReader] = {}
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def look(self) -> Traces:
        """Return what there is now."""
        for _, message in self._news(self._topology.changelog("customers"), "timeline"):
            self._take_customer(message)
        grown = True
        while grown:  # those who lead here through others
            more = {one for one, winner in self._redirects.items() if winner in self._ids}
            grown = not more <= self._ids
            self._ids |= more
        for partition, message in self._news(self._topology.changelog("identities"), "events"):
            self._take_identity(partition, message)
        for partition, message in self._news(self._topology.name("inbox"), "inbox"):
            place = partition, (message.key() or b"").decode()
            (self._inbox.discard if message.value() is None else self._inbox.add)(place)
        others = sorted(self._ids - {self._customer_id})
        return Traces(
            customer_ids=[self._customer_id, *others],
            states=sorted(self._states & self._ids),
            rows=sorted(place for place, owners in self._owners.items() if owners & self._ids),
            inbox=sorted(one for one in self._inbox if one[1].partition(MARK)[0] in self._ids),
        )

    def order(self, traces: Traces) -> None:
        """Order what was found away; it happens when the workers come to it."""
        codec = open_codec(self._settings)
        events = self._topology.name("events")
        codec.prepare({events: "events"})
        order = Forget(
            order_id=ids.make_id("forget", self._customer_id, str(time.time_ns())),
            customer_ids=traces.customer_ids,
        )
        value = codec.encode(order, events)
        headers = list[tuple[str, str | bytes | None]](headers_for(order, self._settings.app.id))
        self._produce(
            [
                *({"key": row, "partition": partition} for partition, row in traces.rows),
                *({"key": f"{CUSTOMER}:{one}"} for one in traces.states),
            ],
            topic=events,
            value=value,
            headers=headers,
        )

    def empty_inbox(self, traces: Traces) -> None:
        """Remove the in-app inbox: nobody else can."""
        self._produce(
            [{"key": key, "partition": partition} for partition, key in traces.inbox],
            topic=self._topology.name("inbox"),
            value=None,
        )

    def erase(self, patience_s: float) -> Traces:
        """Order, wait, and look again until nothing is left; return what is after ``patience_s``.

        Links and events that were under way may bring something back behind the first order.
        """
        deadline = time.monotonic() + patience_s
        traces = self.look()
        while not traces.none:
            self.order(traces)
            while traces.states or traces.rows:
                if time.monotonic() > deadline:
                    return traces
                time.sleep(LOOK_S)
                traces = self.look()
            # Behind what decide wrote: a message that was under way would bring the inbox back.
            self.empty_inbox(traces)
            traces = self.look()
        return traces

    # -- inside ---------------------------------------------------------------------------------

    def _news(self, topic: str, as_many_as: Any) -> Iterator[tuple[int, Message]]:
        """Yield the records that were committed since the last call."""
        for partition in range(self._topology.partitions(as_many_as)):
            reader = self._readers.get((topic, partition))
            if reader is None:
                reader = PartitionReader(self._settings, topic, partition)
                self._exits.enter_context(reader)
                self._readers[topic, partition] = reader
            for message in reader.read(reader.bounds()[1]):
                yield partition, message

    def _take_customer(self, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if key.startswith(b"\0"):
            return
        customer_id = key.decode()
        if value is None:
            self._states.discard(customer_id)
            self._redirects.pop(customer_id, None)
            return
        self._states.add(customer_id)
        redirect = customers.decode(value[DUE_BYTES:]).redirect
        if redirect:
            self._redirects[customer_id] = redirect
        else:
            self._redirects.pop(customer_id, None)

    def _take_identity(self, partition: int, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if key.startswith(b"\0") or value is None:
            return
        row = identities.decode(value[DUE_BYTES:])
        self._owners[partition, key.decode()] = frozenset((row.customer_id, *row.joined)) - {""}

    def _produce(self, records: list[dict[str, Any]], **common: Any) -> None:
        failed: list[KafkaException] = []
        door = Doorkeeper(self._settings)
        producer = Producer(producer_config(self._settings, error_cb=door.hear))
        for record in records:
            producer.produce(
                **common,
                **record,
                on_delivery=lambda error, _: (
                    failed.append(KafkaException(error)) if error else None
                ),
            )
        left = producer.flush(FLUSH_S)
        if failed:
            raise door.verdict(f"{common['topic']} cannot be written", failed[0], producer)
        if left:
            raise CouldNotRun(f"no answer from Kafka for {left} orders: run the command again")
