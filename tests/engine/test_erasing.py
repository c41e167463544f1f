"""Whoever was erased stands in no file of the local copy, whatever crashed when."""

from __future__ import annotations

from orchestrator.engine import meta as metas
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import Snapshot, StateWrite, TaskId
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.states import Room, States
from orchestrator.engine.store import Stores

TASK = TaskId("decide", 3)
DUE = (7).to_bytes(8, "big")


def files_with(folder, text: bytes) -> list[str]:
    """Return the files below ``folder`` in which ``text`` stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if text in path.read_bytes())


def test_what_was_erased_is_in_no_file(tmp_path):
    """Not as value, not as key, not in tables, write-ahead logs, the manifest or the info log."""
    stores, meta = Stores(tmp_path), b"m"
    for number in range(4):
        store = stores.open(TASK)
        rows = [
            StateWrite(f"{name}-{number}".encode(), DUE + f"of {name}".encode() * 9, 0)
            for name in ("canary", "sparrow")
        ]
        store.write(rows, meta)
        store.close()
    store = stores.open(TASK)
    assert files_with(tmp_path, b"canary")
    gone = int.from_bytes(DUE, "big")
    store.write([StateWrite(f"canary-{n}".encode(), None, gone) for n in range(4)], meta)
    store.close()
    assert files_with(tmp_path, b"canary"), "deleting alone does not do it"
    stores.erase(TASK)
    store = stores.open(TASK)
    assert files_with(tmp_path, b"canary") == []
    assert files_with(tmp_path, b"sparrow")
    assert [key for key, _ in store.items()] == [f"sparrow-{n}".encode() for n in range(4)]
    assert len(list(store.timers(b""))) == 4
    store.close()


class CountingStores(SimulatedStores):
    """Counts how often the files were rewritten."""

    erased = 0

    def erase(self, task: TaskId) -> None:
        del task
        self.erased += 1


def commit(world: World, changelog: SimulatedChangelog, seq: int, erasures: int) -> Meta:
    meta = Meta(seq=seq, position=seq, erasures=erasures, log_time=1)
    meta.changelog_offset = changelog.commit(Snapshot([], [], meta))
    meta.verified = True
    world.append(seq)
    return meta


def test_a_copy_is_rewritten_once_for_each_erasure_that_it_has_not_seen():
    """Its own after a crash in between, another owner's when it comes back, and a rebuilt one."""
    world, stores = World(), CountingStores(None)
    stores._world = world
    changelog = SimulatedChangelog(world)
    changelog.fence(lambda: False)

    def opened() -> int:
        before = stores.erased
        found = open_partition(TASK, SimulatedChangelog(world), stores, lambda: False)
        assert found.meta.purged == found.meta.erasures
        found.store.close()
        changelog._number = world.owner
        return stores.erased - before

    commit(world, changelog, 1, 0)
    assert opened() == 0
    meta = commit(world, changelog, 2, 1)
    world.disk.write([], metas.encode(meta))  # committed and stored, and then it crashed
    assert opened() == 1
    assert opened() == 0
    commit(world, changelog, 3, 2)  # by another owner
    commit(world, changelog, 4, 3)
    assert opened() == 1, "once for both"
    world.disk = None
    assert opened() == 1, "the changelog may still hold what it was rebuilt from"
    assert opened() == 0


class Number:
    def __init__(self, number: int) -> None:
        self.number, self.due, self.catalog = number, 0, 0


class Blanking:
    """A stage as far as ``States`` knows one: a state of 0 is nothing."""

    def new(self, key: str) -> Number:
        del key
        return Number(0)

    def encode(self, state: Number) -> bytes:
        return b"%d" % state.number if state.number else b""

    def decode(self, data: bytes) -> Number:
        return Number(int(data))


def test_a_state_without_content_is_no_state():
    """It begins anew before its deletion is committed, between, and after, and counts in no digest."""
    world = World()
    store = SimulatedStores(world).open(TASK)
    states = States(Blanking(), store, 0, Room(6_000), 1)

    def write(number: int) -> None:
        entry = states.get("k", 5)
        entry.state.number = number
        states.accept("k", entry, states.value_of(entry.state))

    def flush() -> None:
        writes, _ = states.snapshot()
        store.write(writes, b"m")

    write(3)
    flush()
    states.committed()
    assert states.digest
    write(0)
    assert states.peek("k") is None
    entry = states.get("k", 8)
    assert (entry.state.number, entry.state.catalog) == (0, 8)
    entry.state.number = 99  # a stage that raises half-way
    states.restore("k", entry, 9)
    assert (entry.state.number, entry.state.catalog) == (0, 9)
    flush()
    assert store.get(b"k") is None
    assert states.digest == 0
    assert states.get("k", 9).state.number == 0
    states.committed()
    assert len(states) == 0
    write(0)
    flush()
    write(4)
    states.committed()
    assert states.peek("k").number == 4
    flush()
    states.committed()
    assert store.get(b"k") == bytes(8) + b"4"
    assert states.digest == metas.add_to_digest(0, metas.state_hash(b"k", bytes(8) + b"4"))
