"""Opening a task: shut out the former owner, bring the local copy up to date, judge it.

All of it blocks and runs in a thread, while other partitions go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol
from zlib import crc32

from orchestrator.engine import meta as metas
from orchestrator.engine.memory import give_back
from orchestrator.engine.meta import Meta, TransactionReader
from orchestrator.engine.ports import Changelog, StateWrite, Store, TaskId
from orchestrator.engine.store import StoreCorrupt
from orchestrator.engine.timers import NEVER_DUE, due_of, key_of
from orchestrator.errors import ChangelogTorn
from orchestrator.observability import get_logger

BATCH_KEYS = 10_000
"""States per write to the store during a replay."""
_log = get_logger(__name__)


class StoreOpener(Protocol):
    """Opens and wipes stores."""

    def open(self, task: TaskId) -> Store:
        """Open or create a task's store."""
        ...

    def wipe(self, task: TaskId) -> None:
        """Remove a task's files; its store must be closed."""
        ...

    def erase(self, task: TaskId) -> None:
        """Rewrite a task's files without what was deleted or replaced; its store must be closed."""
        ...


@dataclass(slots=True)
class Opened:
    """A task's store as of the end of its changelog."""

    store: Store
    meta: Meta
    end: int
    """High watermark of the changelog: if it is still this, nobody else has written."""
    replayed: int


@dataclass(slots=True)
class Progress:
    """How far a replay is, as offsets of the changelog. Written by its thread, read by others."""

    position: int = 0
    end: int = 0
    read: int = 0
    """Records, over all attempts."""

    @property
    def remaining(self) -> int:
        """Records still to be read."""
        return self.end - self.position


def open_partition(
    task: TaskId,
    changelog: Changelog,
    stores: StoreOpener,
    cancelled: Callable[[], bool],
    progress: Progress | None = None,
    on_point: Callable[[str], None] = lambda _point: None,
) -> Opened:
    """Fence, open, replay, verify. A local copy that fails is rebuilt once, from nothing.

    ``progress`` is kept up to date meanwhile; ``on_point`` is told ``fenced``, ``replaying`` for each
    portion of the changelog, and ``replayed``.

    Raises:
        ChangelogTorn: The changelog itself does not add up; the text says what to do.
        ChangelogStuck: It cannot be read to its end.
    """
    started = time.monotonic()
    progress = progress or Progress()
    changelog.fence(cancelled)
    on_point("fenced")
    fenced = time.monotonic()
    opened, why = None, ""
    try:
        opened = _open(task, changelog, stores, cancelled, progress, on_point)
    except (_BadCopy, StoreCorrupt) as bad:
        why = str(bad)
    if opened is None:  # out of the handler: what the error's traceback holds is free
        _log.warning("local state is rebuilt", task=str(task), why=why)
        stores.wipe(task)
        opened = _open(task, changelog, stores, cancelled, progress, on_point)
    try:
        if opened.meta.purged != opened.meta.erasures:
            _erase(task, stores, opened)
        on_point("replayed")
        if opened.replayed >= BATCH_KEYS:
            give_back()
        _check_source(task, changelog, opened)
    except BaseException:
        opened.store.close()
        raise
    _log.info(
        "partition opened",
        task=str(task),
        seq=opened.meta.seq,
        position=opened.meta.position,
        replayed=opened.replayed,
        fence_s=round(fenced - started, 3),
        replay_s=round(time.monotonic() - fenced, 3),
    )
    return opened


def _erase(task: TaskId, stores: StoreOpener, opened: Opened) -> None:
    """Leave nothing in the files of whoever was erased, also by another owner of this partition."""
    opened.store.close()
    stores.erase(task)
    opened.store = stores.open(task)
    opened.meta.purged = opened.meta.erasures
    opened.store.write([], metas.encode(opened.meta))
    _log.info("local state is rid of whom it had to forget", task=str(task))


class _BadCopy(Exception):  # noqa: N818 - never leaves this module
    """The local copy does not fit the changelog; the changelog may still be sound."""


def _open(
    task: TaskId,
    changelog: Changelog,
    stores: StoreOpener,
    cancelled: Callable[[], bool],
    progress: Progress,
    on_point: Callable[[str], None],
) -> Opened:
    store = stores.open(task)
    raw: bytes | None = None
    try:
        raw = store.meta()
        meta = metas.decode(raw) if raw else Meta()
        meta.verified = meta.verified and store.intact
        opened = _replay(task, changelog, store, meta, cancelled, progress, on_point)
    except ChangelogTorn as torn:
        warm = raw is not None
        store.close()
        if isinstance(torn, _Recreated):
            raise
        if warm:
            raise _BadCopy(str(torn)) from torn
        stores.wipe(task)  # never start from what failed the check
        raise
    except BaseException:
        store.close()
        raise
    store.intact = True
    return opened


class _Recreated(ChangelogTorn):
    """The changelog is not the one that the local copy stems from."""


def _replay(
    task: TaskId,
    changelog: Changelog,
    store: Store,
    local: Meta,
    cancelled: Callable[[], bool],
    progress: Progress,
    on_point: Callable[[str], None],
) -> Opened:
    first, end = changelog.bounds()
    # Without a copy whatever the changelog still holds is read: the digest says whether it is all.
    start = local.changelog_offset if local.seq else first
    if start > end or start < first:
        raise _Recreated(
            f"{task}: the local state continues at offset {start} of a changelog that holds "
            f"{first}..{end}: it was recreated or cut. {_remedy(task)}"
        )
    if start >= end and (local.verified or not local.seq):
        return Opened(store, local, end, 0)
    reader, writer = TransactionReader(local), _Writer(store, local)
    replayed = 0
    progress.position, progress.end = start, end
    for records in changelog.read(start, end, cancelled):
        on_point("replaying")
        for offset, key, value in records:
            if (whole := reader.feed(offset, key, value)) is not None:
                writer.add(*whole)
        if records:
            replayed += len(records)
            progress.read += len(records)
            progress.position = records[-1].offset + 1
    progress.position = end
    try:
        reader.end()
    except ChangelogTorn as torn:
        raise ChangelogTorn(f"{task}: {torn}. {_remedy(task)}") from torn
    meta = reader.last
    digest = writer.finish(meta)
    if digest != meta.digest:
        raise ChangelogTorn(
            f"{task}: the state's digest is {digest:x}, the last transaction (sequence {meta.seq}) "
            f"says {meta.digest:x}; {reader.suspicion or 'no single transaction looks wrong'}. "
            f"{_remedy(task)}"
        )
    meta.verified = meta.seq > 0
    store.write([], metas.encode(meta))
    return Opened(store, meta, end, replayed)


class _Writer:
    """Puts whole transactions into the store, many at a time, and keeps the digest.

    With a verified local copy the digest moves along with each change; else it is taken from the
    whole store at the end, which also finds what an interrupted replay left behind. What a state
    replaces is then not looked up; so the timers that it left in the index go at the end as well,
    and the index is held against the states.
    """

    def __init__(self, store: Store, local: Meta) -> None:
        self._store = store
        self._digest: int | None = local.digest if local.verified else None
        self._batch: dict[bytes, bytes | None] = {}

    def add(self, states: dict[bytes, bytes | None], meta: Meta) -> None:
        """Take one transaction."""
        self._batch.update(states)
        if len(self._batch) >= BATCH_KEYS:
            self._flush(meta)

    def finish(self, meta: Meta) -> int:
        """Write what is left; return the digest of the whole store."""
        self._flush(meta)
        if self._digest is not None:
            return self._digest
        shares = armed = 0
        for key, value in self._store.items():
            shares += metas.state_hash(key, value)
            if (due := value[:8]) != NEVER_DUE:
                armed += crc32(due + key)
        if self._index() != armed:
            self._drop_superseded(meta)
            if self._index() != armed:
                raise StoreCorrupt("armed states are missing in its index of timers")
        return metas.add_to_digest(0, shares)

    def _index(self) -> int:
        return sum(map(crc32, self._store.timers(b"")))

    def _drop_superseded(self, meta: Meta) -> None:
        head, over = metas.encode(meta), self._superseded()
        while portion := list(islice(over, BATCH_KEYS)):
            self._store.write([], head, portion)

    def _superseded(self) -> Iterator[bytes]:
        for timer in self._store.timers(b""):
            value = self._store.get(key_of(timer))
            if value is None or value[:8] != timer[:8]:
                yield timer

    def _flush(self, meta: Meta) -> None:
        writes = []
        for key, value in self._batch.items():
            former = None
            if self._digest is not None:
                former = self._store.get(key)
                change = metas.state_hash(key, value) - metas.state_hash(key, former)
                self._digest = metas.add_to_digest(self._digest, change)
            writes.append(StateWrite(key, value, due_of(former) if former else 0))
        self._store.write(writes, metas.encode(meta))
        self._batch = {}


def _check_source(task: TaskId, changelog: Changelog, opened: Opened) -> None:
    """The input must still be there where the state continues."""
    first, end = changelog.source_bounds()
    meta = opened.meta
    if not meta.seq:
        _check_new(task, changelog)
        meta.position = first  # a new deployment begins at the log's first record
    if not first <= meta.position <= end:
        raise ChangelogTorn(
            f"{task}: the state continues at offset {meta.position}, but the input holds "
            f"{first}..{end}: records were deleted before they were applied, or the topic was "
            f"recreated. Put it back from a backup; if there is none, see `Changelog torn, recreated "
            f"or cut` in deploy/README.md"
        )


def _check_new(task: TaskId, changelog: Changelog) -> None:
    """An empty changelog is a new deployment's, or everything has been lost: the group remembers.

    Its offsets are committed behind checkpoints alone. Beginning anew would decide it all again.
    """
    committed = changelog.source_committed()
    if committed > 0:
        raise _Recreated(
            f"{task}: the changelog is empty, but the group has applied its input up to offset "
            f"{committed}: it was recreated or cut. {_remedy(task)}"
        )


def _remedy(task: TaskId) -> str:
    which = f"--stage {task.stage} --partition {task.partition}"
    return (
        f"Put the changelog back from a backup; or stop all workers, look with `orchestrator state "
        f"check {which}`, and build the state anew from the input with `orchestrator state reset "
        f"{which}`"
    )
