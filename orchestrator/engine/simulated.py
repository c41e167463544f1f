"""A log, changelogs and a disk in memory: the engine's core without Kafka and without threads.

One ``World`` is what outlives a crash. A test drives a task over it step by step, crashes it at any
point (before a commit, after it, between commit and disk), opens it again and compares outputs and
states with an undisturbed run. Seeds make such runs repeatable.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.engine import meta as metas
from orchestrator.engine.ports import ChangelogRecord, Output, Snapshot, StateWrite, TaskId
from orchestrator.errors import FencedError


@dataclass(frozen=True, slots=True)
class SimulatedRecord:
    """One record of a simulated log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class World:
    """What outlives a crash of one partition's task: input, changelog, outputs, disk."""

    log: list[SimulatedRecord] = field(default_factory=list)
    changelog: list[ChangelogRecord] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    disk: SimulatedStore | None = None
    owner: int = 0
    """Number of the producer that fenced last."""
    first: int = 0
    """The changelog's first offset."""
    committed: int = -1
    """The group's offset of the input."""

    def append(
        self,
        timestamp: int,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
    ) -> SimulatedRecord:
        """Append an input record; without key and value it is a tick."""
        record = SimulatedRecord(len(self.log), timestamp, key, value, tuple(headers))
        self.log.append(record)
        return record


class SimulatedChangelog:
    """Transactions are atomic; a second owner fences the first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0

    def fence(self, cancelled: Callable[[], bool]) -> None:
        """Shut out the former owner."""
        del cancelled
        self._world.owner += 1
        self._number = self._world.owner

    def bounds(self) -> tuple[int, int]:
        """Return (first offset, high watermark)."""
        world = self._world
        return world.first, world.changelog[-1].offset + 2 if world.changelog else world.first

    def source_bounds(self) -> tuple[int, int]:
        """The same for the input."""
        return 0, len(self._world.log)

    def source_committed(self) -> int:
        """Return what the group has committed of the input."""
        return self._world.committed

    def read(
        self, start: int, end: int, cancelled: Callable[[], bool]
    ) -> Iterator[Sequence[ChangelogRecord]]:
        """Yield committed records."""
        del cancelled
        yield [record for record in self._world.changelog if start <= record.offset < end]

    def commit(self, snapshot: Snapshot) -> int:
        """Append one transaction and its marker, all or nothing."""
        world = self._world
        if self._number != world.owner:
            raise FencedError("another owner")
        at = self.bounds()[1]
        for state in snapshot.states:
            world.changelog.append(ChangelogRecord(at, state.key, state.value))
            at += 1
        value = metas.encode(snapshot.meta)
        world.changelog.append(ChangelogRecord(at, metas.META_KEY, value))
        world.outputs += snapshot.outputs
        return at + 1

    def close(self) -> None:
        """Nothing to do."""


class SimulatedStore:
    """Sorted keys in memory; survives a crash as a disk does."""

    intact = True
    """Each of its writes is there whole or not at all."""

    def __init__(self) -> None:
        self._states: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._timers: list[bytes] = []
        self._meta: bytes | None = None

    def get(self, key: bytes, /) -> bytes | None:
        """Return the state's value."""
        return self._states.get(key)

    def keys(self, start: bytes) -> Iterator[bytes]:
        """Yield the keys of all states from ``start`` on, in order."""
        yield from self._keys[bisect.bisect_left(self._keys, start) :]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all states."""
        for key in self._keys:
            yield key, self._states[key]

    def timers(self, start: bytes) -> Iterator[bytes]:
        """Yield index entries from ``start`` on, in order."""
        yield from self._timers[bisect.bisect_left(self._timers, start) :]

    def meta(self) -> bytes | None:
        """Return the meta record as last written."""
        return self._meta

    def size(self) -> tuple[int, int]:
        """Return (states, bytes)."""
        return len(self._keys), sum(len(k) + len(v) for k, v in self._states.items())

    def write(self, states: Sequence[StateWrite], meta: bytes, stale: Sequence[bytes] = ()) -> None:
        """Write states, index and meta."""
        for entry in stale:
            _discard(self._timers, entry)
        for key, value, former_due in states:
            if former_due:
                _discard(self._timers, former_due.to_bytes(8, "big") + key)
            if value is None:
                self._states.pop(key, None)
                _discard(self._keys, key)
                continue
            self._states[key] = value
            _add(self._keys, key)
            if any(value[:8]):
                _add(self._timers, value[:8] + key)
        self._meta = meta

    def close(self) -> None:
        """Nothing to do."""


class SimulatedStores:
    """Opens the disk of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, task: TaskId) -> SimulatedStore:
        """Return the disk, new if there is none."""
        del task
        if self._world.disk is None:
            self._world.disk = SimulatedStore()
        return self._world.disk

    def erase(self, task: TaskId) -> None:
        """Nothing to do: what was replaced is gone."""

    def wipe(self, task: TaskId) -> None:
        """Lose the disk."""
        del task
        self._world.disk = None


def _add(where: list[bytes], what: bytes) -> None:
    at = bisect.bisect_left(where, what)
    if at == len(where) or where[at] != what:
        where.insert(at, what)


def _discard(where: list[bytes], what: bytes) -> None:
    at = bisect.bisect_left(where, what)
    if at < len(where) and where[at] == what:
        del where[at]
