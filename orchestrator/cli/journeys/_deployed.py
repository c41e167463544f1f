"""The journeys of a running deployment: its catalog, its states, and a new status for one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from orchestrator.codec import open_codec
from orchestrator.engine import meta as metas
from orchestrator.engine.meta import Meta
from orchestrator.errors import CouldNotRun, UsageError
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys import catalog_hash
from orchestrator.kafka.publishing import BEGINNING_MS, WRITES, CatalogPublisher
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch
from orchestrator.stages.decide import state as customers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from orchestrator.kafka.definitions import Definitions
    from orchestrator.records import JourneyStatus
    from orchestrator.settings import Settings

    T = TypeVar("T")

DUE_BYTES: Final = 8
THREADS: Final = 4
"""Partitions read at a time: each holds its states in memory while it is counted."""
KIND: Final = "journey/"


class Table(Struct):
    """One partition of the customers' changelog, as of its end."""

    partition: int
    meta: Meta
    states: list[bytes]
    """Encoded by the decide stage; redirects included."""


def read_customers(settings: Settings, each: Callable[[Table], T]) -> list[T]:
    """Return what ``each`` makes of every partition of the customers' changelog; several at a time.

    Raises:
        BrokerUnavailable: Kafka does not answer.
        TopologyError: The changelog is missing.
    """
    topology = Topology(settings)
    topic = topology.changelog("customers")

    def read(partition: int) -> T:
        rows: dict[bytes, bytes] = {}
        meta = Meta()
        for message in read_partition(settings, topic, partition):
            key, value = message.key() or b"", message.value()
            if key == metas.META_KEY:
                meta = metas.decode(value) if value else meta
            elif value is None:
                rows.pop(key, None)
            else:
                rows[key] = value[DUE_BYTES:]
        return each(Table(partition, meta, list(rows.values())))

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read, range(topology.partitions("timeline"))))


def parked(table: Table) -> dict[tuple[str, str, str], int]:
    """Return how many entries stand at (journey, version, step)."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in table.states:
        for entry in customers.decode(row).entries:
            place = (entry.journey, entry.version, entry.step)
            counts[place] = counts.get(place, 0) + 1
    return counts


def in_force(known: Definitions) -> CatalogSwitch:
    """Return the catalog in force.

    Raises:
        CouldNotRun: None was ever applied.
    """
    if known.catalog is None:
        raise CouldNotRun("no catalog is in force yet: run `orchestrator journeys apply DIR`")
    return known.catalog


def status_of(catalog: CatalogSwitch, journey: str) -> str:
    """Return a journey's status; one that the catalog says nothing of is live."""
    return catalog.status.get(journey, "live")


def journeys_of(catalog: CatalogSwitch) -> list[str]:
    """Return the names of the catalog's journeys, sorted."""
    return sorted(name.removeprefix(KIND) for name in catalog.definitions if name.startswith(KIND))


def set_status(
    settings: Settings, journey: str, status: JourneyStatus, at: int | None
) -> dict[str, Any]:
    """Put the catalog in force again, with another status of one journey; return what changed.

    Raises:
        UsageError: There is no such journey, or ``at`` does not go with the clock.
        CouldNotRun: Nothing was ever applied, or the outcome is unknown.
        UnavailableError: Kafka or the registry is away.
    """
    log_clock = settings.clock.mode == "log"
    if at is not None and not log_clock:
        raise UsageError("--at: the broker's clock says when; it goes with clock.mode log only")
    topology, codec = Topology(settings), open_codec(settings)
    topology.verify(*WRITES)
    codec.prepare(topology.names(*WRITES))
    publisher = CatalogPublisher(settings, codec)
    catalog = in_force(publisher.open())
    names = journeys_of(catalog)
    if journey not in names:
        near = did_you_mean(journey, names) or f"there are: {', '.join(names) or 'none'}"
        raise UsageError(f"no journey {journey!r} is in force; {near}")
    before = status_of(catalog, journey)
    statuses: dict[str, Any] = {name: status_of(catalog, name) for name in names}
    statuses[journey] = status
    identity = catalog_hash(catalog.definitions, statuses)
    if before != status:
        publisher.publish(
            [],
            CatalogSwitch(catalog=identity, definitions=catalog.definitions, status=statuses),
            (BEGINNING_MS if at is None else at) if log_clock else None,
        )
    return {
        "journey": journey,
        "changed": before != status,
        "before": before,
        "status": status,
        "catalog": identity,
    }
