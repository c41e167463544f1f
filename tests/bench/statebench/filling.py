"""Many states from a few: the changelog of decide, filled by the engine's own writer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from orchestrator.engine import meta as metas
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.contents import Contents
from orchestrator.engine.ports import Snapshot, StateWrite
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.reading import PartitionReader
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Event
from orchestrator.settings import Settings
from orchestrator.stages.decide import Decide

PORTION = 10_000
LONG_MS = 20 * 86_400_000


@dataclass(slots=True)
class Filled:
    states: int = 0
    bytes: int = 0


def seeds(settings: Settings, partitions: int) -> list[str]:
    """Return one customer for each partition."""
    del settings
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        number += 1
        key = f"seed{number}"
        found.setdefault(partition_for(key.encode(), partitions), key)
    return list(found.values())


def event(kind: str, key: str) -> Event:
    """Return an event of a customer."""
    return Event(
        event_id=f"{kind}-{key}-{time.time_ns()}",
        type=kind,
        occurred_at=int(time.time() * 1000),
        identities={"id": key},
        source="bench",
        properties={"email": f"{key}@example.com"} if kind == "customer.updated" else {},
    )


def fill(settings: Settings, customers: int) -> Filled:
    """Let every partition hold its share of ``customers``, parked for weeks."""
    filled = Filled()
    for partition in range(settings.topics.partitions):
        with _Writer(settings, partition) as writer:
            share = customers // settings.topics.partitions
            for first in range(0, share, PORTION):
                writes = []
                for number in range(first, min(share, first + PORTION)):
                    key = b"%02d-%016d" % (partition, number)
                    writes.append(StateWrite(key, writer.parked, 0))
                writer.commit(writes)
                filled.states += len(writes)
                filled.bytes += sum(len(w.key) + len(w.value or b"") for w in writes)
    return filled


def arm(settings: Settings, timers: int, due: int, fires: str) -> int:
    """Let ``timers`` of the parked customers be due at one instant; return how many there are."""
    armed = 0
    for partition in range(settings.topics.partitions):
        with _Writer(settings, partition) as writer:
            share = timers // settings.topics.partitions
            value = writer.due_at(due, fires)
            for first in range(0, share, PORTION):
                keys = [
                    b"%02d-%016d" % (partition, n)
                    for n in range(first, min(share, first + PORTION))
                ]
                writer.commit([StateWrite(key, value, 0) for key in keys], writer.parked)
                armed += len(keys)
    return armed


class _Writer:
    """One partition's owner while no worker runs."""

    def __init__(self, settings: Settings, partition: int) -> None:
        topology = Topology(settings)
        self._reader = PartitionReader(settings, topology.changelog("customers"), partition)
        config = ChangelogConfig(
            producer=producer_config(
                settings,
                **{"queue.buffering.max.messages": 500_000, "delivery.timeout.ms": 50_000},
            ),
            consumer=consumer_config(settings, "bench-filling"),
            transaction_timeout=60.0,
            commit_timeout=50.0,
            stuck=60.0,
        )
        self._changelog = KafkaChangelog(
            config,
            Watermarks(consumer_config(settings, "bench-marks")),
            topic=topology.changelog("customers"),
            source=topology.name("timeline"),
            partition=partition,
            transactional_id=f"{settings.app.id}-decide-{partition}",
        )
        self._stage = Decide()

    def __enter__(self) -> Self:
        self._changelog.fence(lambda: False)
        contents = Contents()
        with self._reader as reader:
            contents.read(reader)
        self._meta = contents.meta
        template = next(value for key, value in contents.states.items() if key.startswith(b"seed"))
        self._template = template
        self.parked = self.due_at(int(time.time() * 1000) + LONG_MS, "wait")
        filled = (value for key, value in contents.states.items() if not key.startswith(b"seed"))
        self.parked = next(filled, self.parked)
        return self

    def __exit__(self, *_: object) -> None:
        self._changelog.close()

    def due_at(self, due: int, fires: str) -> bytes:
        """Return the template's state with its wait over at ``due``."""
        state = self._stage.decode(self._template[8:])
        (entry,) = state.entries
        entry.wake = due
        if fires == "send":
            entry.step = "again"
        state.due = due
        return due.to_bytes(8, "big") + self._stage.encode(state)

    def commit(self, writes: list[StateWrite], former: bytes | None = None) -> None:
        """Write one transaction as a checkpoint would."""
        checksum, change = 0, 0
        for key, value, _ in writes:
            share = metas.state_hash(key, value)
            checksum = metas.add_to_checksum(checksum, share)
            change += share - metas.state_hash(key, former)
        meta = metas.decode(metas.encode(self._meta))
        meta.seq, meta.count, meta.checksum = meta.seq + 1, len(writes), checksum
        meta.digest = metas.add_to_digest(meta.digest, change)
        self._changelog.commit(Snapshot(writes, [], meta))
        self._meta = meta
