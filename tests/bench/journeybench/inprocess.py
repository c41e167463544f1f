"""The product's row without Kafka: the same events, decoded, applied, encoded and stored in this process.

What is left out is the broker's client on both sides, nothing else: the real codec, the real decide
stage, the engine's own task, cache and RocksDB. So it tells within seconds, and whatever else runs on
the machine, what a change to the stage is worth, and whether a cost grows with customers or journeys.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

sys.path.insert(0, str(Path(__file__).parent))

import workload

from orchestrator.codec.codec import Codec
from orchestrator.codec.registry import RegistryClient
from orchestrator.engine import assembly
from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.host import settle_collector
from orchestrator.engine.meta import CatalogMark, Meta
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.replay import Opened
from orchestrator.engine.slots import build_core
from orchestrator.engine.store import Stores
from orchestrator.engine.task import PartitionTask
from orchestrator.journeys import load_workspace
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import CatalogSwitch
from orchestrator.settings import load_settings
from orchestrator.stages.decide import Decide

PARTITIONS = 4
WARM_STEP = 200_000
PORTION = 500
"""Records of one delivery."""


class Record(NamedTuple):
    """What the engine asks of a fetched record."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()] = ()


class Registry:
    """Gives every schema a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def register(self, subject: str, text: str) -> int:
        """Return the number of a schema."""
        del subject
        return self._numbers.setdefault(text, len(self._numbers) + 1)


class Bench:
    """Tasks over a temporary RocksDB, and their log in memory."""

    def __init__(self, workspace: Path, folder: Path) -> None:
        settings = load_settings(env={}, flags={"dev": "true", "app.id": "bench"})
        topology = Topology(settings)
        catalog = load_workspace(workspace).catalog
        if catalog is None:
            raise SystemExit(f"{workspace} does not compile")
        codec = Codec(cast("RegistryClient", Registry()), auto_register=True)
        written = {topology.name("timeline"): "timeline", topology.name("decisions"): "decisions"}
        for channel in catalog.policy.channels:
            written[topology.name("actions", channel)] = "actions"
        codec.prepare(written)
        self._encode = lambda event: codec.encode(event, topology.name("timeline"))
        config = EngineConfig()
        tools = assembly.build_tools(settings, codec, lambda _: catalog, config)
        switch = CatalogSwitch(catalog=catalog.hash, definitions={}, status={})
        stores = Stores(folder)
        self._portion = config.max_inputs
        self.tasks: list[PartitionTask] = []
        self.stores = []
        for partition in range(PARTITIONS):
            task = TaskId("decide", partition)
            store = stores.open(task)
            self.stores.append(store)
            meta = Meta(first_ordinal=1, catalogs=[CatalogMark(0, switch)])
            stage = Decide(assume_accepted=True)
            opened = Opened(store, meta, 0, 0)
            self.tasks.append(
                build_core(task, stage, "timeline", PARTITIONS, opened, tools, config)
            )

    def chunks(self, events: Iterator[tuple[bytes, Any]]) -> list[tuple[int, Chunk]]:
        """Return the log in the portions in which it would be delivered."""
        place = cache(lambda key: partition_for(key, PARTITIONS))
        waiting: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        offsets = [task.position for task in self.tasks]
        found = []
        for key, event in events:
            at = place(key)
            record = Record(offsets[at], event.occurred_at, key, self._encode(event))
            offsets[at] += 1
            waiting[at].append(record)
            if len(waiting[at]) >= PORTION:
                found.append((at, _chunk(at, waiting[at])))
                waiting[at] = []
        found += [(at, _chunk(at, rest)) for at, rest in enumerate(waiting) if rest]
        return found

    def run(self, chunks: list[tuple[int, Chunk]]) -> int:
        """Apply a log; return how many records left."""
        left = 0
        for at, chunk in chunks:
            task, store = self.tasks[at], self.stores[at]
            task.offer(chunk, 0.0)
            while task.ready:
                task.step(100, 0.0)
                if task.inputs >= self._portion:
                    left += _flush(task, store)
        for task, store in zip(self.tasks, self.stores, strict=True):
            left += _flush(task, store)
        return left


def _chunk(partition: int, records: list[Record]) -> Chunk:
    return Chunk("timeline", partition, records[0].offset, records[-1].offset + 1, records)


def _flush(task: PartitionTask, store: Any) -> int:
    snapshot = task.snapshot(0.0)
    store.write(snapshot.states, metas.encode(snapshot.meta), snapshot.stale)
    task.committed(snapshot)
    return len(snapshot.outputs)


def measure(count: int, customers: int, journeys: int, warm: int = 0) -> dict[str, Any]:
    """Return a row: CPU per event once every customer is known (``warm`` events come before)."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        workspace = workload.workspace(folder / "workspace", journeys)
        bench = Bench(workspace, folder / "stores")
        stream = workload.events(warm + count, customers, journeys=journeys)
        while warm > 0:
            bench.run(bench.chunks(islice(stream, min(warm, WARM_STEP))))
            warm -= WARM_STEP
        log = bench.chunks(stream)
        settle_collector()
        began, wall = time.process_time(), time.perf_counter()
        left = bench.run(log)
        cpu, wall = time.process_time() - began, time.perf_counter() - wall
        for store in bench.stores:
            store.close()
    finally:
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "customers": customers,
        "journeys": journeys,
        "events": count,
        "cpu_us": round(cpu / count * 1e6, 2),
        "wall_us": round(wall / count * 1e6, 2),
        "out_per_event": round(left / count, 3),
    }


FLAT = ((10_000, 1), (100_000, 1), (1_000_000, 1), (100_000, 10), (100_000, 100))
"""(customers, journeys) over which the cost of an event shall be the same."""


def main() -> None:
    """Measure one case, or what flatness is about; one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--journeys", type=int, default=1)
    parser.add_argument("--warm", type=int, default=0, help="events that are not measured")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--flat", action="store_true", help="10 k to 1 M customers, 1 to 100 journeys"
    )
    given = parser.parse_args()
    cases = [(given.customers, given.journeys, given.warm)]
    if given.flat:  # two customers of three are known by then
        cases = [(customers, journeys, customers) for customers, journeys in FLAT]
    for _ in range(given.runs):
        for customers, journeys, warm in cases:
            print(json.dumps(measure(given.count, customers, journeys, warm)), flush=True)


if __name__ == "__main__":
    main()
