"""What the engine holds for one assigned partition of one stage: the task, and what it stands on."""

from __future__ import annotations

import threading
import time
from asyncio import Future
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from orchestrator.engine import meta as metas
from orchestrator.engine.catalogs import Catalogs
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.holding import Hold
from orchestrator.engine.marks import SWEEP, Mark, Marks
from orchestrator.engine.ports import Changelog, FindSkip, Snapshot, Store, TaskId
from orchestrator.engine.processor import Processor, Tools
from orchestrator.engine.replay import Opened, Progress, StoreOpener, open_partition
from orchestrator.engine.states import States
from orchestrator.engine.task import PartitionTask
from orchestrator.engine.timers import Timers
from orchestrator.observability import get_logger
from orchestrator.stages.protocol import Stage

_log = get_logger(__name__)


class Status(StrEnum):
    """Where a slot is in its life."""

    OPENING = "opening"
    SUSPENDED = "suspended"
    """Open, takes no input: a rebalance is under way, or the reader is being placed."""
    RUNNING = "running"
    DEAD = "dead"
    """Its transaction's outcome is unknown, or another owner has taken over."""
    CLOSED = "closed"


class Slot:
    """See the module docstring. ``store`` and ``core`` are there once it has been opened."""

    def __init__(
        self,
        task: TaskId,
        changelog: Changelog,
        on_point: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.id = task
        self.on_point = on_point
        """Told of every point of a life at which a fault is worth a test."""
        self.changelog = changelog
        self.status = Status.OPENING
        self.store: Store | None = None
        self.core: PartitionTask | None = None
        self.mark: Mark | None = None
        self.progress = Progress()
        """Of its opening."""
        self.known_end = 0
        """High watermark of the changelog after our own last write."""
        self.opening: Future[None] | None = None
        self.commit: Future[int] | None = None
        self.waiting: Future[None] | None = None
        """What ends the block of the core."""
        self.cancelled = threading.Event()
        self.throttled = False
        self.cpu = 0.0
        """Seconds of CPU that it took, on the loop and in commits."""
        self.dropped = 0
        """Chunks that came while it took no input."""
        self.since: float = 0.0
        """When the watchdog first saw it as it is now."""
        self.seen: Any = None

    @property
    def holds(self) -> bool:
        """Whether its partition is open here, taking input or not."""
        return self.status in {Status.RUNNING, Status.SUSPENDED}

    @property
    def running(self) -> bool:
        """Whether it takes input."""
        return self.status is Status.RUNNING

    @property
    def checkpointed(self) -> int:
        """Position of the newest checkpoint; 0 = there is none.

        The group's offsets tell an opening that there must be a state: never before there is one.
        """
        return self.core.meta.position if self.core is not None and self.core.meta.seq else 0

    def move_in(self, opened: Opened, core: PartitionTask) -> None:
        """The partition is open."""
        self.store, self.core, self.known_end = opened.store, core, opened.end
        self.status = Status.SUSPENDED

    def open(
        self,
        stage: Stage[Any],
        source: str,
        partitions: int,
        *,
        stores: StoreOpener,
        tools: Tools,
        config: EngineConfig,
        marks: Marks | None,
        find_skip: FindSkip,
    ) -> None:
        """Take the partition over and build its task. Blocks.

        Raises:
            UnavailableError: Something is not there yet: to be tried again.
        """
        opened = open_partition(
            self.id, self.changelog, stores, self.cancelled.is_set, self.progress, self.on_point
        )
        try:
            hold = self.find_hold(marks, find_skip, source, opened.meta.position)
            core = build_core(
                self.id, stage, source, partitions, opened, tools, config, self.mark, hold
            )
        except BaseException:
            opened.store.close()
            raise
        self.move_in(opened, core)

    def find_hold(
        self, marks: Marks | None, find: FindSkip, source: str, position: int
    ) -> Hold | None:
        """Return where this task must stop, if its worker died too often at one record."""
        if marks is None:
            return None
        self.mark = self.mark or marks.open(self.id)
        offset = self.mark.held
        timer = self.mark.held_timer
        if offset is None or (offset < position and timer != SWEEP):
            return None
        hold = Hold(source, self.id.partition, offset, find, timer)
        _log.error(
            "partition is held",
            topic=source,
            partition=self.id.partition,
            offset=offset,
            why=str(hold),
            try_again=f"remove {marks.path(self.id)} and restart",
        )
        return hold

    def unchanged(self) -> bool:
        """Whether nobody has written to the changelog since our own last commit. Blocks."""
        return self.changelog.bounds()[1] == self.known_end

    def write(self, snapshot: Snapshot) -> int:
        """Commit one snapshot to Kafka, then to the store. Blocks."""
        began = time.thread_time()
        self.on_point("begun")
        offset = self.changelog.commit(snapshot)
        snapshot.meta.changelog_offset, snapshot.meta.verified = offset, True
        if self.store is not None:
            self.store.write(snapshot.states, metas.encode(snapshot.meta), snapshot.stale)
        self.on_point("stored")
        self.cpu += time.thread_time() - began
        return offset

    def release(self) -> None:
        """Close producer and store. Blocks; harmless when repeated."""
        self.changelog.close()
        if self.store is not None:
            self.store.close()
            self.store = None
        if self.mark is not None:
            self.mark.close()
            self.mark = None


def build_core(
    task: TaskId,
    stage: Stage[Any],
    source: str,
    partitions: int,
    opened: Opened,
    tools: Tools,
    config: EngineConfig,
    mark: Mark | None = None,
    hold: Hold | None = None,
) -> PartitionTask:
    """Return the task over an opened store. Blocks: its catalogs may have to be compiled.

    Raises:
        DefinitionMissing: A catalog in force cannot be compiled yet.
    """
    store, meta = opened.store, opened.meta
    states = States(stage, store, meta.digest, tools.room, config.decoded)
    timers = Timers(
        store.timers,
        states.pending_timers,
        portion=config.cached_timers,
        ahead_ms=config.timers_ahead_ms,
    )
    catalogs = Catalogs(meta, tools.book, sweeps=stage.sweeps)
    processor = Processor(task, stage, source, partitions, tools, store, states, timers, catalogs)
    return PartitionTask(task, config, meta, processor, mark, hold)
