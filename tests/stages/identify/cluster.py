"""Identify and decide on several partitions each, over simulated logs that a test interleaves.

One ``World`` for each partition of each stage outlives crashes; what one commits becomes input of
others at once, behind all that lies there. The order in which partitions read, commit and crash is
the test's: that is the interleaving.
"""

from __future__ import annotations

import random
from typing import get_args

import msgspec

from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.slots import Slot, build_core
from orchestrator.engine.states import Room
from orchestrator.identities import Owner, strongest_first
from orchestrator.partitioning import partition_for
from orchestrator.records import CatalogSwitch, Event, Forget, Record
from orchestrator.stages.catalog import Catalog
from orchestrator.stages.decide import Decide
from orchestrator.stages.identify import Identify
from orchestrator.stages.identify.state import row_key

SALT = "lab"
KINDS: dict[str, type] = {each.__name__: each for each in get_args(Record)}


class PackCodec:
    """MessagePack with the record's name in front."""

    def encode(self, record, topic: str) -> bytes:
        del topic
        return type(record).__name__.encode() + b"\n" + msgspec.msgpack.encode(record)

    def decode(self, value: bytes):
        name, _, body = value.partition(b"\n")
        return msgspec.msgpack.decode(body, type=KINDS[name.decode()])

    def load(self, schema_id: int) -> None:
        raise AssertionError(f"nothing to load: {schema_id}")


class NoHeaders:
    def write(self, emit, original) -> list[tuple[str, bytes]]:
        del emit, original
        return []

    def read(self, headers) -> tuple[bool, str | None]:
        del headers
        return False, None


def names(logical: str, channel: str = "") -> str:
    del channel
    return logical


CODEC = PackCodec()
SOURCES = {"identify": "events", "decide": "timeline"}


class Cluster:
    """See the module docstring. ``rnd`` decides everything that is left open."""

    def __init__(self, catalog: Catalog, partitions: int, rnd: random.Random) -> None:
        self.catalog, self.partitions, self.rnd = catalog, partitions, rnd
        self.stages = {"identify": Identify(SALT), "decide": Decide()}
        self.worlds = {TaskId(s, p): World() for s in SOURCES for p in range(partitions)}
        self.now = 1
        self.tools = Tools(
            decoder=Decoder(CODEC),
            encoder=OutputEncoder(CODEC, NoHeaders(), names, 1_000_000),
            envelope=NoHeaders(),
            book=CatalogBook(lambda _switch: catalog),
            max_state=256 * 1024,
            room=Room(rnd.choice([1, 60_000])),
        )
        self._routed = dict.fromkeys(self.worlds, 0)
        self.crashes = 0
        switch = CODEC.encode(CatalogSwitch(catalog=catalog.hash, definitions={}, status={}), "")
        for world in self.worlds.values():
            world.append(self.now, b"catalog", switch)
        self.tasks = {task: self._open(task) for task in self.worlds}

    def _open(self, task: TaskId) -> tuple[Slot, int]:
        world = self.worlds[task]
        slot = Slot(task, SimulatedChangelog(world))
        opened = open_partition(task, slot.changelog, SimulatedStores(world), lambda: False)
        config = EngineConfig()
        core = build_core(
            task,
            self.stages[task.stage],
            SOURCES[task.stage],
            self.partitions,
            opened,
            self.tools,
            config,
        )
        slot.move_in(opened, core)
        return slot, core.position

    def send(self, event: Event, *, key: str = "", partition: int = -1) -> None:
        """Append an event as a connector does: under its strongest identity, where that belongs."""
        rules = self.catalog.identities
        if not key:
            key = strongest_first(event.identities, rules.primary, rules.also, rules.block)[0].key
        self._append("identify", key.encode(), CODEC.encode(event, ""), partition)

    def order(self, order: Forget, row: str, identity: str) -> None:
        """Append an order to forget, on the partition of the identity."""
        place = partition_for(identity.encode(), self.partitions)
        self._append("identify", row.encode(), CODEC.encode(order, ""), place)

    def _append(self, stage: str, key: bytes, value: bytes, partition: int = -1) -> None:
        self.now += 1
        if partition < 0:
            partition = partition_for(key, self.partitions)
        self.worlds[TaskId(stage, partition)].append(self.now, key, value)

    # ------------------------------------------------------------------------------ moving

    def turn(self, task: TaskId) -> None:
        """Let one partition read a little, and perhaps commit, or die on the way."""
        slot, read = self.tasks[task]
        core, world = slot.core, self.worlds[task]
        end = min(len(world.log), read + self.rnd.randrange(1, 4))
        if end > read:
            assert core.offer(Chunk(SOURCES[task.stage], 0, read, end, world.log[read:end]), 0.0)
            self.tasks[task] = slot, end
        if core.blocked is not None:
            core.blocked.remedy()
            core.blocked = None
        core.step(self.rnd.randrange(1, 5), 0.0)
        core.sweep(10)

    def commit(self, task: TaskId, *, lose_disk_write: bool = False) -> None:
        """Commit; what leaves is input of others at once."""
        slot, _ = self.tasks[task]
        if slot.core.has_changes:
            snapshot = slot.core.snapshot(0.0)
            if lose_disk_write:
                slot.changelog.commit(snapshot)
            else:
                slot.write(snapshot)
                slot.core.committed(snapshot)
        outputs = self.worlds[task].outputs
        for output in outputs[self._routed[task] :]:
            stage = {"events": "identify", "timeline": "decide"}.get(output.topic)
            if stage is not None:
                self._append(stage, output.key, output.value)
        self._routed[task] = len(outputs)

    def crash(self, task: TaskId) -> None:
        """Lose all that was not committed; at times the disk, or its last write, too."""
        match self.rnd.randrange(3):
            case 0:
                self.commit(task, lose_disk_write=True)
            case 1:
                self.worlds[task].disk = None
        self.crashes += 1
        self.tasks[task] = self._open(task)

    def some(self, crash_share: float) -> None:
        """Do one drawn thing on one drawn partition."""
        task = self.rnd.choice(list(self.tasks))
        chance = self.rnd.random()
        if chance < crash_share:
            self.crash(task)
        elif chance < 0.5:
            self.commit(task)
        else:
            self.turn(task)

    def settle(self) -> None:
        """Go on, in a drawn order, until nothing is left to do."""
        while True:
            tasks = [task for task in self.tasks if not self._quiet(task)]
            if not tasks:
                return
            task = self.rnd.choice(tasks)
            self.turn(task)
            self.commit(task)

    def _quiet(self, task: TaskId) -> bool:
        slot, _ = self.tasks[task]
        return slot.core.position == len(self.worlds[task].log) and not slot.core.has_changes

    # ------------------------------------------------------------------------------ looking

    def states(self, stage: str) -> dict:
        """Return the states of all partitions, as they are on disk."""
        decode = self.stages[stage].decode
        return {
            key.decode(): decode(value[8:])
            for task, world in self.worlds.items()
            if task.stage == stage and world.disk is not None
            for key, value in world.disk.items()
        }

    def customer_of(self, identity: str) -> str:
        """Return who an identity leads to, through all redirects."""
        customers = self.states("decide")
        found = self.states("identify")[row_key(SALT, identity)].customer_id
        for _ in range(100):
            state = customers.get(found)
            if state is None or not state.redirect:
                return found
            found = state.redirect
        raise AssertionError(f"redirects of {identity} go round in a circle")

    def owners(self) -> dict[str, Owner]:
        """Return every customer that identities ever made, by identity's row."""
        return {
            row: Owner(state.customer_id, state.first_seen)
            for row, state in self.states("identify").items()
            if state.customer_id
        }

    def dead(self) -> list[Record]:
        """Return what was refused."""
        return [
            CODEC.decode(output.value)
            for world in self.worlds.values()
            for output in world.outputs
            if output.topic == "dead-letters"
        ]
