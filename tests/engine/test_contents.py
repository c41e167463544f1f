"""Changelogs that do not add up are read to their end; a repair settles what was wrong; cuts are whole."""

from __future__ import annotations

import pytest

from orchestrator.engine import meta as metas
from orchestrator.engine.contents import Contents
from orchestrator.engine.cuts import cut_path, read_cut, write_cut
from orchestrator.engine.meta import META_KEY, Meta, TransactionReader
from orchestrator.engine.ports import TaskId
from orchestrator.errors import ChangelogTorn, CouldNotRun

TASK = TaskId("decide", 2)


class Log:
    """Records of one changelog partition."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []
        self.states: dict[bytes, bytes] = {}

    def commit(self, seq: int, *, repair: bool = False, **states: str | None) -> Log:
        checksum = 0
        for name, text in states.items():
            key, value = name.encode(), None if text is None else bytes(8) + text.encode()
            self.records.append((key, value))
            checksum = metas.add_to_checksum(checksum, metas.state_hash(key, value))
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        shares = sum(metas.state_hash(*pair) for pair in self.states.items())
        meta = Meta(
            seq=seq,
            position=seq * 10,
            count=len(states),
            checksum=checksum,
            digest=metas.add_to_digest(0, shares),
            repair=repair,
        )
        self.records.append((META_KEY, metas.encode(meta)))
        return self

    def contents(self) -> Contents:
        contents = Contents()
        for offset, (key, value) in enumerate(self.records):
            contents.feed(offset, key, value)
        contents.end = len(self.records)
        contents.judge()
        return contents

    def replay(self) -> Meta:
        reader = TransactionReader(Meta())
        for offset, (key, value) in enumerate(self.records):
            reader.feed(offset, key, value)
        reader.end()
        return reader.last


def test_a_sound_changelog():
    found = Log().commit(1, a="1", b="1").commit(2, a="2", b=None).contents()
    assert (found.sound, found.problems, found.highest) == (True, [], 2)
    assert found.states == {b"a": bytes(8) + b"2"}
    assert (found.meta.position, found.meta.changelog_offset, found.size) == (20, 6, 10)
    assert Contents().sound


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda log: log.commit(1, a="3"), "sequence 2 -> 1"),
        (lambda log: log.records.append((b"a", bytes(8))), "after the last meta record"),
        (lambda log: log.records.append((META_KEY, None)), "tombstone"),
        (lambda log: log.records.append((META_KEY, b"\x01\xc1")), "cannot be read"),
        (lambda log: log.records.insert(3, (b"x", b"y")), "digest"),
        (lambda log: log.records.__delitem__(slice(2, None)), "no meta record"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_is_read(spoil, says):
    log = Log().commit(1, a="1", b="1").commit(2, a="2")
    spoil(log)
    found = log.contents()
    assert not found.sound
    assert says in " ".join(found.problems)
    assert found.states[b"b"] == bytes(8) + b"1"


def test_a_repair_settles_what_was_wrong_and_half_of_one_does_not():
    log = Log().commit(1, a="1", b="1").commit(2, a="2").commit(2, a="9")
    with pytest.raises(ChangelogTorn, match="sequence 2 -> 2"):
        log.replay()
    log.commit(3, a="2", repair=True)
    assert log.replay().seq == 3
    assert log.contents().sound
    log.commit(3, a="2")
    with pytest.raises(ChangelogTorn, match="sequence 3 -> 3"):
        log.replay()


def test_a_cut_is_whole_or_refused(tmp_path):
    found = Log().commit(1, a="1", b="1").commit(2, a="2").contents()
    path = write_cut(tmp_path, TASK, "timeline", found)
    cut = read_cut(tmp_path, TASK)
    assert (cut.states, cut.source, cut.meta.position) == (found.states, "timeline", 20)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    data = path.read_bytes()
    for damaged in (data[:-12], b"", b"no cut", data[:40] + b"x" + data[41:]):
        path.write_bytes(damaged)
        with pytest.raises(CouldNotRun, match="damaged"):
            read_cut(tmp_path, TASK)
    path.write_bytes(data)
    path.rename(cut_path(tmp_path, TaskId("decide", 3)))
    with pytest.raises(CouldNotRun, match="no cut of decide-3"):
        read_cut(tmp_path, TaskId("decide", 3))
    with pytest.raises(CouldNotRun, match="missing"):
        read_cut(tmp_path, TASK)
