"""The local copy of one task's state in RocksDB; it can always be rebuilt from the changelog.

Column families: ``state`` (key -> ``due`` + bytes), ``timers`` (``due`` + key -> nothing), ``meta``.
All stores of a process share one block cache and one budget for write buffers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from orchestrator.disk import DAMAGED, is_damage, is_refusal
from orchestrator.engine.ports import StateWrite, TaskId
from orchestrator.engine.timers import NEVER_DUE
from orchestrator.errors import FatalError

BLOCK_CACHE = 128 * 1024 * 1024
WRITE_BUFFERS = 64 * 1024 * 1024
WRITE_BUFFER = 16 * 1024 * 1024
_META = b"meta"
_FAMILIES = ("state", "timers", "meta")


_CLOSED = "CLOSED"
"""Written last: which files there were, and how large, when the directory was closed in order."""
_NOT_COUNTED = ("LOG", "LOCK", _CLOSED)


class StoreCorrupt(Exception):  # noqa: N818 - never leaves the engine
    """The files are damaged: wipe them and rebuild from the changelog."""


class DiskRefused(FatalError):  # noqa: N818 - reads as a state
    """The disk takes nothing more; the files on it are sound."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"the disk under {path} takes nothing more ({error}). Make room there or give "
            f"`worker.data_dir` a larger disk; the worker then goes on by itself, and nothing is "
            f"lost: Kafka holds all that this disk holds"
        )


class RocksStore:
    """One opened directory; see ``Stores.open``."""

    def __init__(self, database: Rdict, damaged: Path, *, intact: bool) -> None:
        self.intact = intact
        self._database: Any = database
        self._damaged = damaged
        self._families = {name: database.get_column_family(name) for name in _FAMILIES}
        self._handles = {name: database.get_column_family_handle(name) for name in _FAMILIES}
        # Bound to the column family itself: this is the hot path.
        self._get: Callable[[bytes], bytes | None] = self._families["state"].get

    def get(self, key: bytes, /) -> bytes | None:
        """Return the state's value."""
        try:  # no context manager: this is the hot path
            return self._get(key)
        except Exception as error:
            self._report(error)
            raise

    def keys(self, start: bytes) -> Iterator[bytes]:
        """Yield the keys of all states from ``start`` on, in order."""
        last = start
        with self._watched():
            for last in self._families["state"].keys(from_key=start):
                yield last
            self._check_end("state", last)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all states."""
        last = b""
        with self._watched():
            for last, value in self._families["state"].items():
                yield last, value
            self._check_end("state", last)

    def timers(self, start: bytes) -> Iterator[bytes]:
        """Yield index entries from ``start`` on, in order."""
        last = start
        with self._watched():
            for last in self._families["timers"].keys(from_key=start):
                yield last
            self._check_end("timers", last)

    def meta(self) -> bytes | None:
        """Return the meta record as last written."""
        with self._watched():
            found: bytes | None = self._families["meta"].get(_META)
        return found

    def size(self) -> tuple[int, int]:
        """Return (states, bytes), estimated from what RocksDB keeps of them."""
        family = self._families["state"]
        states = family.property_int_value("rocksdb.estimate-num-keys")
        parts = [family.property_int_value(name) for name in _SIZES]
        return states or 0, sum(part or 0 for part in parts)

    def write(self, states: Sequence[StateWrite], meta: bytes, stale: Sequence[bytes] = ()) -> None:
        """Write states, index and meta in one batch.

        In the order of the keys: a memtable takes neighbours at half the cost of keys at random.
        """
        batch = WriteBatch(raw_mode=True)
        state, timers = self._handles["state"], self._handles["timers"]
        armed = []
        for entry in stale:
            batch.delete(entry, timers)
        for key, value, former_due in sorted(states, key=_key):
            due = value[:8] if value is not None else NEVER_DUE
            if former_due or due != NEVER_DUE:
                former = former_due.to_bytes(8, "big")
                if former_due and former != due:
                    batch.delete(former + key, timers)
                if due not in (NEVER_DUE, former):
                    armed.append(due + key)
            if value is None:
                batch.delete(key, state)
            else:
                batch.put(key, value, state)
        for entry in sorted(armed):
            batch.put(entry, b"", timers)
        batch.put(_META, meta, self._handles["meta"])
        with self._watched():
            self._database.write(batch)

    def _check_end(self, family: str, last: bytes) -> None:
        """Raise if there is damage behind ``last``: rocksdict's iterators end there without a word."""
        behind = self._families[family].iter()
        try:
            behind.seek(last)
            while behind.valid():
                behind.next()
            behind.status()
        finally:
            del behind  # a traceback would keep it, and with it the directory's lock

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._report(error)
            raise

    def _report(self, error: Exception) -> None:
        """Note damage that is found while running: the next opening rebuilds this copy."""
        if is_damage(error):
            self._damaged.touch()
            raise StoreCorrupt(f"{self._damaged.parent}: {error}") from error
        if is_refusal(error):
            raise DiskRefused(self._damaged.parent, error) from error

    def rewrite(self) -> None:
        """Merge all files into new ones: what was deleted or replaced is in none of these."""
        with self._watched():
            for family in self._families.values():
                family.flush()
                family.compact_range(None, None)

    def close(self) -> None:
        """Release the directory: everything that refers to it goes first, then it itself.

        Damage that RocksDB found while it tidied up ends nothing here: the next opening knows of it.
        """
        database, self._database = self._database, None
        if database is None:
            return
        self._families.clear()
        self._handles.clear()
        del self._get
        with suppress(StoreCorrupt), self._watched():
            database.close()
            if self.intact:
                with suppress(OSError):  # without the note the next opening looks for itself
                    path = self._damaged.parent
                    (path / _CLOSED).write_text(_inventory(path))


_SIZES = ("rocksdb.estimate-live-data-size", "rocksdb.cur-size-all-mem-tables")
"""On disk, compressed, and in memory."""
_key = itemgetter(0)


def _inventory(path: Path) -> str:
    """Return the names and sizes of the files that hold data."""
    files = (file for file in path.iterdir() if not file.name.startswith(_NOT_COUNTED))
    return "\n".join(sorted(f"{file.name} {file.stat().st_size}" for file in files))


def _closed_in_order(path: Path) -> bool:
    """Take the note away, and return whether the files are those that it tells of.

    RocksDB opens silently with less than it had when a manifest was cut, or a log is gone.
    """
    note = path / _CLOSED
    try:
        told = note.read_text()
        note.unlink()
    except FileNotFoundError:
        return False
    return told == _inventory(path)


class Stores:
    """Opens the stores of a process under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cache = Cache(BLOCK_CACHE)
        self._buffers = WriteBufferManager(WRITE_BUFFERS, False)

    def open(self, task: TaskId) -> RocksStore:
        """Open or create a task's store.

        Raises:
            StoreCorrupt: Its files are damaged.
            FatalError: Somebody else has it open, or the disk fails.
        """
        path = self._path(task)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskRefused(path, error) from error
        damaged = path / DAMAGED
        if damaged.exists():
            raise StoreCorrupt(f"{path}: found damaged when it was last open")
        options = self._options()
        try:
            intact = _closed_in_order(path)
            database = Rdict(
                str(path),
                options=options,
                column_families={name: self._options() for name in _FAMILIES},
                access_type=AccessType.read_write(),
            )
        except Exception as error:
            text = str(error)
            if is_damage(error):
                raise StoreCorrupt(f"{path}: {text}") from error
            if "LOCK" in text:
                raise FatalError(
                    f"{path} is in use: two workers must not share a data_dir ({text})"
                ) from error
            if is_refusal(error):
                raise DiskRefused(path, error) from error
            raise FatalError(
                f"cannot open {path}: {text}. If nothing else helps, remove it: it is built again "
                f"from the changelog"
            ) from error
        return RocksStore(database, damaged, intact=intact)

    def wipe(self, task: TaskId) -> None:
        """Remove a task's files; its store must be closed."""
        shutil.rmtree(self._path(task), ignore_errors=True)

    def erase(self, task: TaskId) -> None:
        """Rewrite a task's files without what was deleted or replaced; its store must be closed.

        The log and the manifest of the former files, which name keys, go when it is opened next.
        """
        store = self.open(task)
        try:
            store.rewrite()
        finally:
            store.close()

    def _path(self, task: TaskId) -> Path:
        return self._directory / str(task)

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_bloom_filter(10, False)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_size(WRITE_BUFFER)
        options.set_write_buffer_manager(self._buffers)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_keep_log_file_num(2)
        options.set_atomic_flush(True)  # if a log is lost, all families are of the same instant
        return options
