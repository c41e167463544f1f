"""One stage over one recorded partition, by the engine's own core: what it must have done.

A rerun never sweeps: a state is brought to a new catalog when its own next record or timer comes,
or when it is compared. As customers are independent this gives each of them the same life, and it
keeps a rerun from ever being ahead of a deployment whose own sweep is still under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.engine import StageSpec
from orchestrator.engine.holding import Hold, Skips
from orchestrator.engine.meta import CatalogMark, Meta
from orchestrator.engine.ports import Chunk, LogRecord, Output, StateWrite, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.replay import Opened, StoreOpener
from orchestrator.engine.slots import build_core
from orchestrator.engine.timers import entry as timer_entry

STEP_INPUTS = 5_000
"""Inputs between two writes to the rerun's store."""


@dataclass(frozen=True, slots=True)
class StateDifference:
    """A state that is not what the log gives; None: there is none on that side."""

    key: str
    expected: bytes | None
    found: bytes | None


class Rerun:
    """See the module docstring.

    Args:
        task: Which stage and partition.
        spec: The stage and its input.
        tools: As the worker's.
        config: As the worker's.
        stores: Where the rerun keeps its states: an empty place of its own.
        first: Offset of the log's first record, where the place is empty; what ``fork`` has laid
            down there goes on from where it was taken.
        take: Gets everything that leaves, in order.
        skips: What operators passed over.
    """

    def __init__(
        self,
        task: TaskId,
        spec: StageSpec,
        tools: Tools,
        config: EngineConfig,
        stores: StoreOpener,
        first: int,
        take: Callable[[Output], None],
        skips: Skips | None = None,
    ) -> None:
        self._store = stores.open(task)
        begun = self._store.meta()
        meta = Meta(position=first) if begun is None else metas.decode(begun)
        opened = Opened(self._store, meta, 0, 0)
        self._core = build_core(
            task, spec.stage, spec.source, spec.partitions, opened, tools, config
        )
        self._stage = spec.stage
        self._source = spec.source
        self._partition = task.partition
        self._take = take
        self._skips = skips or Skips()
        self._core.skipped_timers = self._skips.timers

    @property
    def position(self) -> int:
        """Offset of the next record."""
        return self._core.position

    @property
    def log_time(self) -> int:
        """Log time as of the last record, epoch ms."""
        return self._core.log_time

    def feed(self, records: Sequence[LogRecord], end: int) -> None:
        """Apply the records of [position, end), timers in front of each included.

        Raises:
            UnavailableError: A schema or a definition cannot be had.
        """
        for offset in sorted(self._skips.records):
            if self._core.position <= offset < end:
                hold = Hold(self._source, self._partition, offset, _no_search)
                hold.order = self._skips.records[offset]
                self._core.hold = hold
                self._run([one for one in records if one.offset <= offset], offset + 1)
        self._run([one for one in records if one.offset >= self._core.position], end)

    def settle(
        self, committed: Mapping[bytes, bytes], limit: int | None
    ) -> Iterator[StateDifference]:
        """Compare all states with ``committed``, a checkpoint at this very position.

        A checkpoint may lie between any two inputs: some timers due by the next record may have
        fired, and the sweep may have come to some states. A state that differs is moved on, by
        itself, as far as that may have been.

        Args:
            committed: key -> value.
            limit: Log time of the next record; None if there is none: nothing fires.
        """
        for raw, found in committed.items():
            key = raw.decode()
            expected = self._at(key, found, limit)
            if expected != found:
                yield StateDifference(key, expected, found)
        self._flush()
        for raw, expected in self._store.items():
            if raw not in committed:
                yield StateDifference(raw.decode(), expected, None)

    def advance(self, to: int) -> None:
        """Let log time reach ``to`` as a tick does: what is due by then fires."""
        processor, limit = self._core.processor, (to + 1).to_bytes(8, "big")
        while processor.timers.first(limit) is not None:
            self._fire(processor.timers.take())
        self._core.log_time = max(self._core.log_time, to)
        self._flush()

    def fork(
        self, task: TaskId, stores: StoreOpener, change: Callable[[list[CatalogMark]], CatalogMark]
    ) -> None:
        """Lay a copy of everything down for another rerun, in which another catalog takes effect.

        Args:
            task: The other's.
            stores: The other's: an empty place.
            change: Gives the other catalog, and when, from those that have taken effect so far.
        """
        self._flush()
        meta = metas.decode(self._store.meta() or b"")
        meta.first_ordinal = meta.first_ordinal or 1
        meta.catalogs.append(change(meta.catalogs))
        meta.sweep = b""
        head, copy = metas.encode(meta), stores.open(task)
        try:
            states = self._store.items()
            while batch := [
                StateWrite(key, value, 0) for key, value in islice(states, STEP_INPUTS)
            ]:
                copy.write(batch, head)
            copy.write([], head)
        finally:
            copy.close()

    def bring_all(self) -> None:
        """Bring every state to the newest catalog and to the log time, the silent ones too."""
        for number, raw in enumerate(list(self._store.keys(b"")), start=1):
            self._core.processor.bring(raw.decode(), self.log_time)
            if number % STEP_INPUTS == 0:
                self._flush()
        self._flush()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _at(self, key: str, found: bytes, limit: int | None) -> bytes | None:
        """Return the state of ``key``, moved on to where it equals ``found`` if that may be."""
        states, processor = self._core.processor.states, self._core.processor
        state = states.peek(key)
        if state is None:
            return None
        value = states.value_of(state)
        if value != found and self._stage.sweeps:
            if state.catalog < self._stage.decode(found[8:]).catalog:
                processor.bring(key, self.log_time)
            value = states.value_of(states.get(key, 0).state)
        while value != found and limit is not None:
            due = states.get(key, 0).state.due
            if not 0 < due <= limit:
                break
            self._fire(timer_entry(due, key.encode()))
            value = states.value_of(states.get(key, 0).state)
        return value

    def _fire(self, timer: bytes) -> None:
        reason = self._skips.timers.get(timer)
        if reason is None:
            self._core.processor.fire(timer)
        else:
            self._core.processor.skip_timer(timer, reason)

    def _run(self, records: Sequence[LogRecord], end: int) -> None:
        core = self._core
        if end <= core.position:
            return
        core.offer(Chunk(self._source, self._partition, core.position, end, records), 0.0)
        while core.position < end:
            core.step(STEP_INPUTS, 0.0)
            if core.blocked is not None:
                core.blocked.remedy()
                core.blocked = None
            self._flush()

    def _flush(self) -> None:
        core = self._core
        snapshot = core.snapshot(0.0)
        self._store.write(snapshot.states, metas.encode(snapshot.meta), snapshot.stale)
        core.committed(snapshot)
        for output in snapshot.outputs:
            self._take(output)


def _no_search(
    topic: str, partition: int, offset: int, timer: bytes | None, start: int
) -> tuple[str | None, int]:
    raise AssertionError(f"{topic} {partition}: {offset} {timer!r} is no hold ({start})")
