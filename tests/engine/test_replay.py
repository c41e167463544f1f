"""After an opening the timer index is what the states say, however the copy came about."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_erasing import files_with

from orchestrator.engine import meta as metas
from orchestrator.engine import replay
from orchestrator.engine.changelog import Cancelled
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import Snapshot, StateWrite, TaskId
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.store import Stores

TASK = TaskId("decide", 3)
Dues = dict[str, int | None]
"""Key -> when its state is due; 0 = not at all, None = it is erased."""


class Interrupted(SimulatedChangelog):
    """Its reader is told to stop after so many records."""

    def __init__(self, world: World, after: int) -> None:
        super().__init__(world)
        self.after = after

    def read(self, start, end, cancelled):
        for records in super().read(start, end, cancelled):
            for number, record in enumerate(records):
                if number == self.after:
                    raise Cancelled
                yield [record]


class Life:
    """What the changelog says so far."""

    def __init__(self) -> None:
        self.world = World()
        self.states: dict[bytes, bytes] = {}
        self.seq = self.erasures = 0

    def commit(self, dues: Dues) -> None:
        changelog, writes = SimulatedChangelog(self.world), []
        changelog.fence(lambda: False)
        for name, due in dues.items():
            key, value = name.encode(), None if due is None else due.to_bytes(8, "big") + b"state"
            writes.append(StateWrite(key, value, 0))
            self.states.pop(key, None)
            if value is not None:
                self.states[key] = value
        self.seq += 1
        self.erasures += None in dues.values()
        shares = [metas.state_hash(one.key, one.value) for one in writes]
        digest = sum(metas.state_hash(*one) for one in self.states.items())
        meta = Meta(
            seq=self.seq,
            position=self.seq,
            count=len(writes),
            checksum=metas.checksum(shares),
            digest=metas.add_to_digest(0, digest),
            erasures=self.erasures,
        )
        self.world.append(self.seq)
        changelog.commit(Snapshot(writes, [], meta))

    def open(self, stores, after: int | None = None) -> None:
        """Open a copy and close it; ``after`` so many records the worker is told to stop."""
        whole = SimulatedChangelog(self.world)
        changelog = whole if after is None else Interrupted(self.world, after)
        try:
            open_partition(TASK, changelog, stores, lambda: False).store.close()
        except Cancelled:
            assert after is not None

    @property
    def index(self) -> list[bytes]:
        return sorted(value[:8] + key for key, value in self.states.items() if any(value[:8]))


COMMITS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, 0, 5, 6, 7]), min_size=1),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=st.lists(st.tuples(COMMITS, st.none() | st.integers(0, 12)), min_size=1, max_size=4))
@pytest.mark.parametrize("batch", [1, 2])
def test_the_index_is_that_of_the_states(monkeypatch, batch, lives):
    """Law: whatever replays ended half-way, and however many writes a state took to come."""
    monkeypatch.setattr(replay, "BATCH_KEYS", batch)
    life = Life()
    stores = SimulatedStores(life.world)
    for commits, after in lives:
        for dues in commits:
            life.commit(dues)
        life.open(stores, after)
    life.open(stores)
    disk = life.world.disk
    assert dict(disk.items()) == life.states
    assert list(disk.timers(b"")) == life.index


def test_no_timer_tells_of_the_erased(tmp_path, monkeypatch):
    """Erased while a half-restored copy lay still: its key is in no file, in RocksDB as well."""
    monkeypatch.setattr(replay, "BATCH_KEYS", 2)
    life, stores = Life(), Stores(tmp_path)
    life.commit({"a": 5, "canary": 9, "canary too": 9})
    life.commit({"b": 6})
    life.open(stores, after=5)
    assert files_with(tmp_path, b"canary")
    life.commit({"a": 7, "canary": None, "canary too": None})
    life.open(stores)
    store = stores.open(TASK)
    assert list(store.timers(b"")) == life.index
    assert dict(store.items()) == life.states
    store.close()
    assert files_with(tmp_path, b"canary") == []
