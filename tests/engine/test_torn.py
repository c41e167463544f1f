"""Which broken changelogs an opening detects, with a cold and with a warm disk."""

from __future__ import annotations

import shutil

import pytest

from orchestrator.engine import meta as metas
from orchestrator.engine.meta import META_KEY, Meta
from orchestrator.engine.ports import ChangelogRecord, StateWrite, TaskId
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.store import Stores
from orchestrator.errors import ChangelogTorn, UnavailableError

TASK = TaskId("decide", 0)
Record = tuple[bytes, bytes | None]


class Writer:
    """Writes honest transactions; a test then spoils them."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.seq = 0

    def txn(self, **states: int) -> list[Record]:
        self.seq += 1
        records: list[Record] = []
        checksum = 0
        for name, number in states.items():
            key, value = name.encode(), bytes(8) + b"%d" % number
            self.states[key] = value
            records.append((key, value))
            checksum = metas.add_to_checksum(checksum, metas.state_hash(key, value))
        digest = metas.add_to_digest(0, sum(metas.state_hash(k, v) for k, v in self.states.items()))
        meta = Meta(
            seq=self.seq,
            position=self.seq,
            count=len(records),
            checksum=checksum,
            digest=digest,
        )
        return [*records, (META_KEY, metas.encode(meta))]


def world_of(*txns: list[Record]) -> World:
    world = World()
    for number in range(10):
        world.append(number)
    for records in txns:
        for key, value in records:
            world.changelog.append(ChangelogRecord(len(world.changelog), key, value))
    return world


def opened(world: World):
    return open_partition(TASK, SimulatedChangelog(world), SimulatedStores(world), lambda: False)


def transactions() -> tuple[list[Record], list[Record], list[Record]]:
    writer = Writer()
    return writer.txn(a=1, b=1), writer.txn(a=2, c=1), writer.txn(b=2)


T1, T2, T3 = transactions()


def test_a_good_changelog_is_the_state():
    """Last values, and the position of the last transaction."""
    world = world_of(T1, T2, T3)
    result = opened(world)
    assert (result.meta.seq, result.meta.position, result.meta.verified) == (3, 3, True)
    assert dict(world.disk.items()) == {
        b"a": bytes(8) + b"2",
        b"b": bytes(8) + b"2",
        b"c": bytes(8) + b"1",
    }


def test_compaction_is_no_damage():
    """Superseded records and metas are gone: counts no longer fit, the digest does."""
    assert opened(world_of(T1[1:2], T2, T3[:0], T3)).meta.seq == 3
    assert opened(world_of(T2[1:2], T2[:1], T3)).meta.seq == 3


BROKEN = {
    "half a transaction, its meta lost": (T1, T2[:1]),
    "half a transaction, and the next one": (T1, T2[:1], T3),
    "one record lost": (T1, T2[1:]),
    "one transaction lost": (T1, T3),
    "one transaction twice": (T1, T2, T2),
    "a late record for a lost one, same count": (T1, T2, [T1[0], T3[1]]),
    "a late record of an older transaction": (T1, T2, [T1[0], *T3]),
    "a tombstone for a meta": (T1, [(META_KEY, None)]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_cold_replay_refuses(name):
    """It refuses to run and leaves no half-built disk behind."""
    world = world_of(*BROKEN[name])
    with pytest.raises(ChangelogTorn):
        opened(world)
    assert world.disk is None


def test_a_bad_disk_is_rebuilt_from_a_sound_changelog():
    """Mismatch on a warm disk: wipe and replay cold, once."""
    world = world_of(T1, T2)
    opened(world)
    meta = world.disk.meta()
    world.disk.write([StateWrite(b"a", bytes(8) + b"damaged", 0)], meta)
    for key, value in T3:
        world.changelog.append(ChangelogRecord(len(world.changelog), key, value))
    # The digest moves along with changes: damage in other keys shows in a full comparison only.
    meta = metas.decode(meta)
    meta.verified = False
    world.disk.write([], metas.encode(meta))
    assert opened(world).replayed == len(T1) + len(T2) + len(T3)
    assert world.disk.get(b"a") == bytes(8) + b"2"


def test_an_interrupted_replay_is_verified_next_time():
    """The local copy says that it has not been compared."""
    world = world_of(T1, T2)
    opened(world)
    meta = metas.decode(world.disk.meta())
    meta.verified = False
    world.disk.write([StateWrite(b"x", bytes(8), 0)], metas.encode(meta))
    assert opened(world).meta.verified
    assert world.disk.get(b"x") is None


def test_a_recreated_changelog_is_refused_and_the_disk_kept():
    """The only copy of the state is then the disk."""
    world = world_of(T1, T2, T3)
    opened(world)
    world.changelog.clear()
    with pytest.raises(ChangelogTorn, match="recreated or cut"):
        opened(world)
    assert world.disk.get(b"a") is not None


def test_input_that_is_gone_is_refused():
    """Position beyond the input's end: the topic was recreated."""
    world = world_of(T1, T2, T3)
    world.log.clear()
    with pytest.raises(ChangelogTorn, match=r"the input holds 0\.\.0"):
        opened(world)


def test_a_newer_meta_waits_for_the_upgrade():
    """Unknown layouts are never guessed at."""
    with pytest.raises(UnavailableError, match="upgrade"):
        metas.decode(b"\x02...")
    meta = Meta(seq=4, sweep=b"k")
    assert metas.decode(metas.encode(meta)) == meta


def test_an_emptied_changelog_is_told_from_a_new_deployment():
    """Without a local copy only the group's offsets tell: beginning anew would decide all again."""
    world = world_of()
    assert opened(world).meta.seq == 0
    world.committed = 0
    assert opened(world).meta.seq == 0
    world.disk, world.committed = None, 7
    with pytest.raises(ChangelogTorn, match=r"is empty.*up to offset 7.*state reset"):
        opened(world)


def test_a_cut_changelog_is_judged_by_what_is_left():
    """A cold start refuses it, unless it is whole all the same: mended by a rebuild behind the cut."""
    writer = Writer()
    txns = [writer.txn(a=1), writer.txn(b=2), writer.txn(a=3)]
    torn, whole = world_of(*txns), world_of(*txns, writer.txn(a=4, b=5))
    for world in (torn, whole):
        cut = 4 if world is torn else len(world.changelog) - 3
        world.first, world.changelog[:cut] = cut, []
    with pytest.raises(ChangelogTorn, match="state reset"):
        opened(torn)
    assert dict(opened(whole).store.items()) == writer.states
    whole.first += 3
    with pytest.raises(ChangelogTorn, match="recreated or cut"):
        opened_behind(whole)


def opened_behind(world: World):
    """With the copy of a worker that was away while the changelog was cut."""
    raw = world.disk.meta()
    meta = metas.decode(raw)
    meta.changelog_offset = 1
    world.disk.write([], metas.encode(meta))
    return opened(world)


@pytest.mark.parametrize("died", [False, True])
def test_a_copy_that_lost_some_of_its_files_without_a_word_is_rebuilt(tmp_path, died):
    """RocksDB takes a manifest that was cut for an older one: newer tables are gone, newer logs are not."""
    writer, world = Writer(), world_of()
    stores, image = Stores(tmp_path / "copy"), tmp_path / "image"

    def leave(**states: int) -> Meta:
        *written, (_, head) = writer.txn(**states)
        for key, value in [*written, (META_KEY, head)]:
            world.changelog.append(ChangelogRecord(len(world.changelog), key, value))
        meta = metas.decode(head)
        meta.changelog_offset, meta.verified = len(world.changelog) + 1, True
        return meta

    leave(a=1, b=1)
    store = open_partition(TASK, SimulatedChangelog(world), stores, lambda: False).store
    for number in range(2, 6):
        meta = leave(a=number, **{f"k{number}": number})
        changed = [StateWrite(k, writer.states[k], 0) for k in (b"a", b"k%d" % number)]
        store.write(changed, metas.encode(meta))
        if number % 2:
            store.rewrite()  # a table, which the manifest tells of behind all that it told before
    store.write([], metas.encode(meta))
    if died:
        shutil.copytree(tmp_path / "copy" / str(TASK), image)
    store.close()
    if not died:
        shutil.copytree(tmp_path / "copy" / str(TASK), image)
    (manifest,) = image.glob("MANIFEST*")
    for size in range(0, manifest.stat().st_size, 7):
        copy = tmp_path / str(size)
        shutil.copytree(image, copy / str(TASK))
        with (copy / str(TASK) / manifest.name).open("r+b") as file:
            file.truncate(size)
        result = open_partition(TASK, SimulatedChangelog(world), Stores(copy), lambda: False)
        assert dict(result.store.items()) == writer.states, f"cut at {size}"
        result.store.close()


def test_a_copy_whose_index_lacks_a_timer_is_rebuilt():
    """What is armed and not in the index would never fire; the digest tells of states alone."""
    writer, world = Writer(), world_of()
    armed = (1_000).to_bytes(8, "big") + b"armed"
    *_, (_, head) = writer.txn()
    meta = metas.decode(head)
    meta.digest = metas.add_to_digest(0, metas.state_hash(b"a", armed))
    meta.count, meta.checksum = 1, metas.add_to_checksum(0, metas.state_hash(b"a", armed))
    for key, value in ((b"a", armed), (META_KEY, metas.encode(meta))):
        world.changelog.append(ChangelogRecord(len(world.changelog), key, value))
    opened(world)
    meta = metas.decode(world.disk.meta())
    meta.verified = False
    for lost, beyond in ((b"a", None), (b"a", b"b"), (None, b"b")):
        stale = [armed[:8] + lost] if lost else []
        world.disk.write([], metas.encode(meta), stale)
        if beyond:  # as many entries as armed states, and yet not theirs
            world.disk.write([StateWrite(beyond, armed, 0)], metas.encode(meta))
            world.disk.write([StateWrite(beyond, None, 0)], metas.encode(meta))
        assert opened(world).meta.verified
        assert list(world.disk.timers(b"")) == [armed[:8] + b"a"]


@pytest.mark.parametrize("number", range(2))
def test_a_damaged_table_is_rebuilt_at_once(tmp_path, number):
    """By the process that found it: no iterator keeps the directory's lock beyond the error."""
    world, stores, folder = world_of(T1, T2, T3), Stores(tmp_path), tmp_path / str(TASK)
    for _ in range(2):  # the log becomes tables
        open_partition(TASK, SimulatedChangelog(world), stores, lambda: False).store.close()
    (folder / "CLOSED").unlink()
    table = sorted(folder.glob("*.sst"))[number]
    data = bytearray(table.read_bytes())
    data[0] ^= 0xFF
    table.write_bytes(data)
    result = open_partition(TASK, SimulatedChangelog(world), stores, lambda: False)
    assert len(dict(result.store.items())) == 3
    result.store.close()
