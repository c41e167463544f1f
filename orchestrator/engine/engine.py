"""Opens, runs, suspends and closes the tasks of this process. Knows no Faust, and Kafka by ports.

The loop gives every running task a turn: apply some inputs, perhaps begin a checkpoint, perhaps
tick. Whatever blocks (opening, committing, waiting for a schema) runs in threads. What goes wrong
with one partition ends its slot, which is opened again; what must not happen ends the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.engine import watchdog
from orchestrator.engine.changelog import Cancelled
from orchestrator.engine.clock import wall_ms
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.deadletters import DeadLetterGuard
from orchestrator.engine.holding import no_skip
from orchestrator.engine.marks import Marks
from orchestrator.engine.ports import (
    Changelog,
    Chunk,
    FindSkip,
    Reader,
    Snapshot,
    TaskId,
    TickSender,
)
from orchestrator.engine.processor import Tools
from orchestrator.engine.replay import StoreOpener
from orchestrator.engine.slots import Slot, Status
from orchestrator.engine.task import PartitionTask
from orchestrator.engine.ticks import send_tick
from orchestrator.engine.totals import Totals
from orchestrator.errors import FencedError, TransactionFailed, UnavailableError
from orchestrator.observability import get_logger
from orchestrator.stages.protocol import Stage

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A stage and the topic that it reads."""

    stage: Stage[Any]
    source: str
    partitions: int


class Engine:
    """See the module docstring. All methods belong to the event loop's thread.

    Args:
        config: Numbers.
        stages: What runs here; every stage owns the same partition numbers.
        tools: Shared by all tasks.
        changelogs: Makes the changelog of a task.
        stores: Opens local copies.
        ticks: Appends ticks.
        on_fatal: Ends the process.
        marks: Notes at which record a process died; without, no partition is ever held.
        find_skip: Finds an operator's order to pass over a record.
        on_point: Called at ``suspended``, ``assigned``, ``fenced``, ``replayed``, ``begun`` and
            ``stored``: where faults are put.
    """

    def __init__(
        self,
        config: EngineConfig,
        stages: Sequence[StageSpec],
        tools: Tools,
        *,
        changelogs: Callable[[TaskId], Changelog],
        stores: StoreOpener,
        ticks: TickSender,
        on_fatal: Callable[[BaseException], None],
        marks: Marks | None = None,
        find_skip: FindSkip = no_skip,
        on_point: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.config = config
        self.stages: Mapping[str, StageSpec] = {spec.stage.name: spec for spec in stages}
        self.slots: dict[TaskId, Slot] = {}
        self.paused = True
        """A rebalance is under way, or none has been yet."""
        self.held: dict[str, str] = {}
        """Stages that must not go on, and why."""
        self.turned = time.monotonic()
        """When the loop last turned; the watchdog thread looks at it."""
        self.totals = Totals(self.stages)
        self.reader: Reader | None = None
        """Set by the host before the first assignment."""
        self.on_commit: Callable[[Slot, Snapshot, float], None] = lambda *_: None
        """Told of every checkpoint and how many seconds it took."""
        self._tools = tools
        self._changelogs = changelogs
        self._stores = stores
        self._ticks = ticks
        self._on_fatal = on_fatal
        self._marks = marks
        self._find_skip = find_skip
        self._on_point = on_point
        self._by_source = {spec.source: name for name, spec in self.stages.items()}
        self._guards = {
            name: DeadLetterGuard(config.dead_letters_minimum, config.dead_letters_share)
            for name in self.stages
        }
        self._wake = asyncio.Event()
        self._commits = ThreadPoolExecutor(config.threads, thread_name_prefix="commit")
        self._openings = ThreadPoolExecutor(config.threads, thread_name_prefix="open")
        self._background: set[asyncio.Future[Any]] = set()
        self._closing: dict[TaskId, asyncio.Future[Any]] = {}
        self._closed = False
        self._suspended = time.monotonic()

    # ------------------------------------------------------------------------- what is asked

    def task_of(self, topic: str, partition: int) -> TaskId | None:
        """Return whose input this is."""
        stage = self._by_source.get(topic)
        return None if stage is None else TaskId(stage, partition)

    def source_of(self, task: TaskId) -> str:
        """Return the topic that a task reads."""
        return self.stages[task.stage].source

    def ready(self, task: TaskId) -> bool:
        """Whether the task takes input."""
        slot = self.slots.get(task)
        return slot is not None and slot.running

    def running(self) -> dict[TaskId, PartitionTask]:
        """Return all tasks that take input."""
        return {
            task: slot.core
            for task, slot in self.slots.items()
            if slot.running and slot.core is not None
        }

    # ----------------------------------------------------------------------------- rebalances

    async def suspend(self) -> None:
        """Before partitions may move: no more input, and a deadline for the last commits."""
        self.paused, self._suspended = True, time.monotonic()
        slots = [slot for slot in self.slots.values() if slot.running]
        for slot in slots:
            slot.status = Status.SUSPENDED
            if slot.core is not None:
                slot.core.forget_queue()
        if slots:
            await asyncio.gather(*(self._drain(slot) for slot in slots))
        self._on_point("suspended")

    async def settle(self) -> None:
        """Wait for the commits that ``suspend`` did not wait for, so that positions are the last ones."""
        if commits := [slot.commit for slot in self.slots.values() if slot.commit is not None]:
            await asyncio.wait(commits)

    async def assign(self, tasks: Iterable[TaskId]) -> None:
        """Take over exactly ``tasks``: kept ones start at once, others open in the background."""
        wanted = set(tasks)
        self.paused = False
        for task in [task for task in self.slots if task not in wanted]:
            self._close(self.slots.pop(task))
        kept = [slot for slot in self.slots.values() if slot.status is Status.SUSPENDED]
        sound = await asyncio.gather(*(self._may_keep(slot) for slot in kept))
        good = {slot.id for slot, ok in zip(kept, sound, strict=True) if ok}
        for task in sorted(wanted - good):
            slot = self.slots.get(task)
            if slot is None or slot.status in {Status.DEAD, Status.SUSPENDED, Status.CLOSED}:
                self._reopen(task)
        self._on_point("assigned")
        await asyncio.gather(*(self._start(self.slots[task]) for task in sorted(good)))
        still = round(time.monotonic() - self._suspended, 3)
        _log.info("assigned", tasks=list(map(str, sorted(wanted))), kept=len(good), still_s=still)

    async def close(self) -> None:
        """Commit what can be committed and close everything."""
        self._closed = True
        await self.suspend()
        await asyncio.gather(*(self._close(slot) for slot in self.slots.values()))
        self.slots.clear()

    async def _may_keep(self, slot: Slot) -> bool:
        if slot.commit is not None:
            await asyncio.wait([slot.commit], timeout=self.config.keep_deadline)
        if slot.commit is not None or slot.status is not Status.SUSPENDED:
            return False
        unchanged: bool = await self._in(self._openings, slot.unchanged)
        return unchanged

    async def _drain(self, slot: Slot) -> None:
        """Finish the commit in flight and one more for the rest, within the deadline."""
        core = slot.core
        deadline = time.monotonic() + self.config.suspend_deadline
        while core is not None and slot.status is Status.SUSPENDED:
            if slot.commit is None:
                if not core.has_changes:
                    return
                self._checkpoint(slot, core)
            if slot.commit is not None:
                done, _ = await asyncio.wait([slot.commit], timeout=deadline - time.monotonic())
                if not done:
                    return
                await asyncio.sleep(0)  # its callback comes first

    # --------------------------------------------------------------------- opening and closing

    def _reopen(self, task: TaskId) -> None:
        """Put a new slot in place of what is there, and begin to open it.

        At once, in one step: an assignment and a death may both ask for it, and one of them opens.
        """
        if self._closed:
            return
        former = self.slots.get(task)
        slot = self.slots[task] = Slot(task, self._changelogs(task), self._on_point)
        if former is not None:
            self._close(former)
        self._spawn(self._open(slot))

    async def _open(self, slot: Slot) -> None:
        """Open a slot when everything else of its task is closed; who cancels it closes it, too."""
        if (closing := self._closing.get(slot.id)) is not None:
            await asyncio.wait([closing])
        if slot.cancelled.is_set():
            return
        slot.opening = self._in(self._openings, partial(self._open_blocking, slot))
        await asyncio.wait([slot.opening])
        error = slot.opening.exception()
        if slot.cancelled.is_set():
            return
        match error:
            case None:
                await self._start(slot)
            case TransactionFailed():
                # The broker refuses this producer for now; asked again as after a death.
                _log.warning("partition cannot be opened", task=str(slot.id), why=str(error))
                slot.status = Status.DEAD
                self._spawn(self._after_death(slot))
            case _:
                await self._close(slot)
                raise error

    def _open_blocking(self, slot: Slot) -> None:
        spec = self.stages[slot.id.stage]
        while True:
            try:
                slot.open(
                    spec.stage,
                    spec.source,
                    spec.partitions,
                    stores=self._stores,
                    tools=self._tools,
                    config=self.config,
                    marks=self._marks,
                    find_skip=self._find_skip,
                )
            except UnavailableError as away:
                _log.warning("partition waits", task=str(slot.id), why=str(away))
                if slot.cancelled.wait(self.config.retry):
                    raise Cancelled from away
            else:
                return

    async def _start(self, slot: Slot) -> None:
        """Pause, seek, mark running, resume: else records fetched before might reach a running task.

        A chunk that came between seek and start was dropped, and nobody would miss it in a silent
        partition: then the reader is placed once more.
        """
        core, reader, suspended = slot.core, self.reader, self._suspended
        if self.paused or core is None or reader is None or self.slots.get(slot.id) is not slot:
            return
        if slot.status is not Status.SUSPENDED:
            return
        reader.pause(slot.id)
        dropped = -1
        while dropped != slot.dropped:
            dropped = slot.dropped
            core.forget_queue()
            if not await reader.seek(slot.id, core.position):
                return
            if suspended != self._suspended or slot.status is not Status.SUSPENDED:
                return  # a rebalance has begun, and perhaps ended: it starts what is kept
        slot.status, slot.throttled = Status.RUNNING, False
        reader.resume(slot.id)
        self._wake.set()

    def _close(self, slot: Slot) -> asyncio.Future[None]:
        """Close a slot whose partition is not ours any more, or that will be opened anew.

        What is still being closed of the same task comes first, and an opening waits for all of it:
        a directory has one owner at a time.
        """
        slot.cancelled.set()
        closing = self._closing[slot.id] = self._spawn(self._drop(slot, self._closing.get(slot.id)))
        return closing

    async def _drop(self, slot: Slot, before: asyncio.Future[Any] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if slot.opening is not None:
            await asyncio.wait([slot.opening])
        if slot.status is Status.CLOSED:
            return
        if slot.commit is not None:
            await asyncio.wait([slot.commit])
        self.totals.retire(slot)
        slot.status, slot.core = Status.CLOSED, None
        await self._in(self._openings, slot.release)

    def _died(self, slot: Slot, error: BaseException) -> None:
        _log.warning("partition died", task=str(slot.id), why=f"{type(error).__name__}: {error}")
        self.totals.died(slot, error)
        slot.status = Status.DEAD
        self._spawn(self._after_death(slot))

    def _renew(self, slot: Slot) -> None:
        """Somebody was erased: opening the partition again rids its files of them."""
        if slot.status is Status.RUNNING:
            slot.status = Status.DEAD
            self._spawn(self._after_death(slot))

    async def _after_death(self, slot: Slot) -> None:
        """Open it again if the group says that it is still ours, else wait for the rebalance.

        A zombie must not fence the rightful owner.
        """
        while self.slots.get(slot.id) is slot and slot.status is Status.DEAD and not self._closed:
            await asyncio.sleep(self.config.claim_pause)
            if self.paused or self.reader is None:
                continue
            ours = await self.reader.still_ours(slot.id, slot.checkpointed)
            if ours and self.slots.get(slot.id) is slot and slot.status is Status.DEAD:
                self.totals.reopened += 1
                self._reopen(slot.id)

    # ---------------------------------------------------------------------------------- input

    def offer(self, chunk: Chunk) -> None:
        """Hand over fetched records; a task that is not running drops them, it will seek."""
        task = self.task_of(chunk.topic, chunk.partition)
        slot = None if task is None else self.slots.get(task)
        if slot is None or slot.core is None:
            return
        if not slot.running:
            slot.dropped += 1
            return
        if not slot.core.offer(chunk, wall_ms()):
            _log.warning(
                "gap in the input: seeking back",
                task=str(slot.id),
                position=slot.core.position,
                begin=chunk.begin,
            )
            slot.status = Status.SUSPENDED
            self._spawn(self._start(slot))
            return
        if slot.core.queued > self.config.max_queue and not slot.throttled:
            slot.throttled = True
            self._reader().pause(slot.id)
        self._wake.set()

    async def run(self) -> None:
        """Turn for ever; an error that comes out of here must end the process."""
        while True:
            mono, wall = time.monotonic(), wall_ms()
            self.turned = mono
            busy = False
            for slot in list(self.slots.values()):
                began = time.thread_time()
                busy = self._turn(slot, mono, wall) or busy
                slot.cpu += time.thread_time() - began
            self._ticks.poll()
            if busy:
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), self.config.period)
            except TimeoutError:
                continue

    def _turn(self, slot: Slot, mono: float, wall: float) -> bool:
        """Give one task its turn; return whether it could go on at once."""
        if not self.paused and self.reader is not None:
            watchdog.check(slot, self.reader, self.config, mono)
        core = slot.core
        if core is None or slot.status not in {Status.RUNNING, Status.SUSPENDED}:
            return False
        if slot.running and slot.id.stage not in self.held:
            self._apply(slot, core, mono)
        if slot.commit is None and core.wants_snapshot(mono):
            self._checkpoint(slot, core)
        if slot.throttled and core.queued < self.config.max_queue // 2 and not self.paused:
            slot.throttled = False
            self._reader().resume(slot.id)
        if slot.running and self.config.clock == "broker" and core.wants_tick(wall, mono):
            send_tick(self._ticks, core, mono)
        return slot.running and core.ready and slot.id.stage not in self.held

    def _apply(self, slot: Slot, core: PartitionTask, mono: float) -> None:
        if core.blocked is not None:
            if slot.waiting is None:
                slot.waiting = self._spawn(self._unblock(slot, core))
            return
        if core.full:
            return
        dead = core.processor.dead_letters
        inputs = core.step(self.config.turn_inputs, mono) if core.ready else 0
        if inputs < self.config.turn_inputs and core.blocked is None:
            inputs += core.sweep(self.config.turn_inputs - inputs)
        if not inputs:
            return
        guard = self._guards[slot.id.stage]
        if guard.note(mono, inputs, core.processor.dead_letters - dead):
            why = "too many dead letters: a schema break upstream, or a broken catalog"
            self.held[slot.id.stage] = why
            _log.error(
                "stage is held", stage=slot.id.stage, why=why, source=self.source_of(slot.id)
            )

    async def _unblock(self, slot: Slot, core: PartitionTask) -> None:
        """Wait for what the core needs, then let it try again."""
        blocked = core.blocked
        while blocked is not None and self.slots.get(slot.id) is slot:
            try:
                await self._in(self._openings, blocked.remedy)
            except UnavailableError as away:
                _log.warning("partition waits", task=str(slot.id), why=str(away))
                await asyncio.sleep(self.config.retry)
                continue
            core.blocked = blocked = None
        slot.waiting = None
        self._wake.set()

    # -------------------------------------------------------------------------------- commits

    def _checkpoint(self, slot: Slot, core: PartitionTask) -> None:
        started = time.monotonic()
        snapshot = core.snapshot(started)
        slot.commit = asyncio.get_running_loop().run_in_executor(
            self._commits, slot.write, snapshot
        )
        slot.commit.add_done_callback(
            lambda done: self._committed(slot, core, snapshot, done, started)
        )

    def _committed(
        self,
        slot: Slot,
        core: PartitionTask,
        snapshot: Snapshot,
        done: asyncio.Future[int],
        started: float,
    ) -> None:
        slot.commit = None
        if done.cancelled():
            return
        match done.exception():
            case None:
                slot.known_end = done.result() + 1  # the transaction's marker is one offset
                core.committed(snapshot)
                self.on_commit(slot, snapshot, time.monotonic() - started)
                if snapshot.meta.purged != snapshot.meta.erasures:
                    self._renew(slot)
                self._wake.set()
            case FencedError() | TransactionFailed() as error:
                self._died(slot, error)
            case error:
                self._on_fatal(error)

    # ------------------------------------------------------------------------------- plumbing

    def _reader(self) -> Reader:
        if self.reader is None:
            raise RuntimeError("the host has not set the reader")
        return self.reader

    @staticmethod
    def _in(pool: ThreadPoolExecutor, work: Callable[[], Any]) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(pool, work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        future = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, future: asyncio.Future[Any]) -> None:
        self._background.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._on_fatal(error)
