"""RocksDB behind the ``Store`` port does what the simulated store does; damage is told from locks."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine.marks import Mark
from orchestrator.engine.ports import StateWrite, TaskId
from orchestrator.engine.simulated import SimulatedStore
from orchestrator.engine.store import DiskRefused, StoreCorrupt, Stores
from orchestrator.errors import FatalError

TASK = TaskId("decide", 3)


def value(due: int, text: bytes) -> bytes:
    return due.to_bytes(8, "big") + text


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(
        st.dictionaries(
            st.sampled_from([b"a", b"b", b"c"]),
            st.one_of(st.none(), st.tuples(st.integers(0, 5), st.binary(max_size=3))),
            max_size=3,
        ),
        max_size=6,
    )
)
def test_both_stores_agree(tmp_path_factory, batches):
    """Law: after the same batches both hold the same states, index and meta, also reopened."""
    stores = Stores(tmp_path_factory.mktemp("store"))
    real, simulated = stores.open(TASK), SimulatedStore()
    dues: dict[bytes, int] = {}
    for number, batch in enumerate(batches):
        writes = []
        for key, new in batch.items():
            due = new[0] if new else 0
            writes.append(StateWrite(key, value(*new) if new else None, dues.get(key, 0)))
            dues[key] = due
        for store in (real, simulated):
            store.write(writes, b"meta %d" % number)
    real.close()
    real.close()
    real = stores.open(TASK)
    try:
        assert list(real.items()) == list(simulated.items())
        assert list(real.timers(b"")) == list(simulated.timers(b""))
        assert list(real.keys(b"b")) == list(simulated.keys(b"b"))
        assert real.meta() == simulated.meta()
        assert real.get(b"a") == simulated.get(b"a")
    finally:
        real.close()


def test_superseded_entries_go(tmp_path):
    """What a snapshot found superseded is deleted with it, before anything is put."""
    store = Stores(tmp_path).open(TASK)
    store.write([StateWrite(b"k", value(5, b"x"), 0)], b"m")
    leftover = value(4, b"k")
    store.write([], b"m", [value(5, b"k"), leftover])
    assert list(store.timers(b"")) == []
    store.close()


def test_a_lock_is_not_corruption(tmp_path):
    """Another owner of the directory must never have its files wiped."""
    stores = Stores(tmp_path)
    store = stores.open(TASK)
    with pytest.raises(FatalError, match="two workers must not share"):
        stores.open(TASK)
    store.close()


def test_damage_is_reported_as_damage_and_can_be_wiped(tmp_path):
    """The engine then rebuilds from the changelog."""
    stores = Stores(tmp_path)
    stores.open(TASK).close()
    (tmp_path / str(TASK) / "CURRENT").write_text("nonsense")
    with pytest.raises(StoreCorrupt):
        stores.open(TASK)
    stores.wipe(TASK)
    store = stores.open(TASK)
    assert store.meta() is None
    store.close()


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize("kind", ["CURRENT", "MANIFEST*", "*.sst", "*.log"])
@pytest.mark.parametrize("how", [flipped, cut, lambda path: path.unlink()])
def test_damaged_files_are_found_or_harmless(tmp_path, kind, how):
    """At the opening or at the first read, which the next opening knows of; never read as sound."""
    stores = Stores(tmp_path)
    folder = tmp_path / str(TASK)
    for portion in range(3):  # each opening turns the log of the one before into a table
        store = stores.open(TASK)
        writes = [
            StateWrite(b"%d-%d" % (portion, n), value(n + 1, b"x" * 500), 0) for n in range(200)
        ]
        store.write(writes, b"meta %d" % portion)
        store.close()
    whole = 600
    for victim in folder.glob(kind):
        if victim.stat().st_size:
            how(victim)
    try:
        store = stores.open(TASK)
    except StoreCorrupt:
        return
    try:
        found = {}
        for portion in range(3):
            for n in range(200):
                key = b"%d-%d" % (portion, n)
                if (got := store.get(key)) is not None:
                    found[key] = got
        assert all(got[8:] == b"x" * 500 for got in found.values())
        assert dict(store.items()) == found
        assert list(store.keys(b"")) == sorted(found)
        assert sorted(store.timers(b"")) == sorted(got[:8] + key for key, got in found.items())
        complete = len(found) == whole and store.meta() == b"meta 2"
        # An earlier state of all is what a crash may leave: the changelog brings what came later.
        assert complete or store.meta() in {None, b"meta 0", b"meta 1"}
    except StoreCorrupt:
        store.close()
        with pytest.raises(StoreCorrupt, match="found damaged"):
            stores.open(TASK)
        stores.wipe(TASK)
        stores.open(TASK).close()
    finally:
        store.close()


@pytest.mark.parametrize("family", ["state", "timers"])
def test_what_is_read_in_order_is_all_or_damaged(tmp_path, family):
    """Law: whichever byte of a table is another, an iteration yields everything or raises.

    rocksdict's own iterators end in front of a damaged block as if there were nothing behind it: a
    customer's timers, or his turn in a sweep, would be gone without a word.
    """
    stores, folder = Stores(tmp_path / "sound"), tmp_path / "sound" / str(TASK)
    states = {b"k%d" % n: value(n + 1, b"x" * n) for n in range(5)}
    store = stores.open(TASK)
    store.write([StateWrite(key, new, 0) for key, new in states.items()], b"meta")
    store.close()
    stores.open(TASK).close()  # the log becomes tables
    found_out = 0
    for table in folder.glob("*.sst"):
        sound = table.read_bytes()
        for at in range(0, len(sound), 25):
            copy = tmp_path / f"{table.stem}-{at}"
            shutil.copytree(folder, copy / str(TASK))
            harmed = bytearray(sound)
            harmed[at] ^= 0xFF
            (copy / str(TASK) / table.name).write_bytes(harmed)
            try:
                store = Stores(copy).open(TASK)
            except (StoreCorrupt, FatalError):
                continue
            try:
                if family == "state":
                    assert dict(store.items()) == states
                    assert list(store.keys(b"k2")) == [b"k2", b"k3", b"k4"]
                else:
                    assert len(list(store.timers(b""))) == len(states)
            except StoreCorrupt:
                found_out += 1
            finally:
                store.close()
    assert found_out


class FoundBroken:
    """A database whose background work came upon a damaged block."""

    def close(self):
        text = "Corruption: block checksum mismatch in 000017.sst offset 0 size 63"
        raise Exception(text)  # noqa: TRY002 - as rocksdict does


def test_damage_found_in_closing_is_for_the_next_opening(tmp_path):
    """A worker that gives a partition away, or stops in order, does not end for it."""
    stores = Stores(tmp_path)
    store = stores.open(TASK)
    store.intact, store._database = True, FoundBroken()
    store.close()
    with pytest.raises(StoreCorrupt, match="found damaged"):
        stores.open(TASK)


def test_only_what_was_closed_in_order_is_intact(tmp_path):
    """A directory whose process died, or whose files were touched since, is to be verified."""
    stores, folder = Stores(tmp_path / "a"), tmp_path / "a" / str(TASK)
    store = stores.open(TASK)
    assert not store.intact
    store.write([StateWrite(b"k", value(1, b"x"), 0)], b"meta")
    shutil.copytree(folder, tmp_path / "b" / str(TASK))
    store.close()
    store = stores.open(TASK)
    assert not store.intact, "nobody verified it"
    store.intact = True
    store.close()
    dead = Stores(tmp_path / "b").open(TASK)
    assert not dead.intact
    dead.close()
    store = stores.open(TASK)
    assert store.intact
    store.close()
    (manifest,) = folder.glob("MANIFEST*")
    cut(manifest)
    try:
        store = stores.open(TASK)
    except StoreCorrupt:
        return
    assert not store.intact
    store.close()


def test_a_disk_that_takes_nothing_more_is_named_with_what_to_do(tmp_path):
    """The worker ends with it; damage would be rebuilt, but here the files are sound."""
    store = Stores(tmp_path).open(TASK)
    full = "IO error: No space left on device: While appending to file: 000004.log"
    with pytest.raises(DiskRefused, match=r"worker\.data_dir.*nothing is\s+lost"), store._watched():
        raise RuntimeError(full)
    store.close()
    Stores(tmp_path).open(TASK).close()
    (tmp_path / "file").touch()
    with pytest.raises(DiskRefused, match="Make room"):
        Stores(tmp_path / "file").open(TASK)
    with pytest.raises(DiskRefused, match="Make room"):
        Mark(tmp_path / "file" / "mark")
