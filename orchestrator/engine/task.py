"""One partition of one stage: its queue, its position, its time, its snapshots.

All of this runs on the event loop and never waits. The engine commits the snapshots in threads.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from orchestrator.engine.clock import LogClock, TickState
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.decoding import Blocked
from orchestrator.engine.holding import Held, Hold
from orchestrator.engine.marks import SWEEP, Mark
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import Chunk, Snapshot, TaskId
from orchestrator.engine.processor import Processor
from orchestrator.engine.timers import due_of


class PartitionTask:
    """See the module docstring. Instants named ``mono`` are monotonic seconds.

    The position stays in front of the record whose log time is being reached, until all timers due
    by then have fired and the record has been applied; so a snapshot may lie between any two
    inputs, and a crash in the middle of a firing costs nothing: what fired is in the states.
    """

    def __init__(
        self,
        task: TaskId,
        config: EngineConfig,
        meta: Meta,
        processor: Processor[Any],
        mark: Mark | None = None,
        hold: Hold | None = None,
    ) -> None:
        self.id = task
        self.processor = processor
        self.meta = meta
        """As of the last commit."""
        self.position = meta.position
        self.log_time = meta.log_time
        self.clock = LogClock()
        self.tick = TickState(config.tick_gap, config.tick_lost, config.tick_stuck)
        self.blocked: Blocked | None = None
        self.queued = 0
        """Records in the queue."""
        self.inputs = 0
        """Since the last snapshot."""
        self.total = 0
        """Inputs since the task was opened: what the watchdog looks at."""
        self.snapshots = 0
        self.hold = hold
        """In front of it the task stops and asks."""
        self.skipped_timers: dict[bytes, str] = {}
        """Timers to be passed over: index entry -> reason."""
        self._mark = mark
        self._config = config
        self._queue: deque[Chunk] = deque()
        self._index = 0
        self._queue_end = meta.position
        self._last_record = 0.0
        self._last_snapshot = 0.0
        self._inflight = False
        self._fired: list[int] = []

    # ------------------------------------------------------------------------------- input

    def offer(self, chunk: Chunk, wall: float) -> bool:
        """Queue a chunk; False: there is a gap before it, the reader must seek to ``position``."""
        if chunk.begin > self._queue_end:
            return False
        self._queue.append(chunk)
        self.queued += len(chunk.records)
        self._queue_end = max(self._queue_end, chunk.end)
        if chunk.records:
            self.clock.saw(chunk.records[-1].timestamp, wall)
        return True

    def forget_queue(self) -> None:
        """Drop what was fetched; the reader will seek to ``position``."""
        self._queue.clear()
        self._index = self.queued = 0
        self._queue_end = self.position
        self.tick.reset()

    @property
    def full(self) -> bool:
        """Whether the next transaction is as large as it may get."""
        return self.inputs >= self._config.max_inputs

    @property
    def ready(self) -> bool:
        """Whether ``step`` would do something."""
        return self.blocked is None and not self.full and bool(self._queue)

    @property
    def waiting(self) -> bool:
        """Whether input is queued or uncommitted."""
        return bool(self._queue) or self.inputs > 0 or self._inflight

    def step(self, budget: int, mono: float) -> int:
        """Apply at most ``budget`` inputs; return how many were.

        A block ends the step; ``blocked`` then tells what to wait for.
        """
        before, left = self.total, budget
        try:
            while self._queue and left > 0:
                left = self._step_chunk(self._queue[0], left)
        except Blocked as blocked:
            self.blocked = blocked
        if self._mark is not None:
            self._mark.away()  # not in a `finally`: what ends the process shall leave its mark
        done = self.total - before
        if done:
            self._last_record = mono
        return done

    def sweep(self, budget: int) -> int:
        """Bring silent states to the newest catalog; return how many were looked at."""
        if not self._sweeping():
            return 0
        hold, mark = self.hold, self._mark
        if hold is not None and hold.timer == SWEEP:
            self.blocked = Held(hold)
            return 0
        if mark is not None:
            mark.at(self.position)
            mark.firing(SWEEP)
        try:
            seen = self.processor.sweep(budget, self.log_time)
        except Blocked as blocked:
            self.blocked, seen = blocked, 0
        if mark is not None:
            mark.away()
            if not self._sweeping():
                mark.swept()
        self._count(seen)
        return seen

    def _sweeping(self) -> bool:
        return self.processor.catalogs.sweep is not None

    def _step_chunk(self, chunk: Chunk, left: int) -> int:
        records, processor = chunk.records, self.processor
        timers, mark, apply = processor.timers, self._mark, processor.record
        count = len(records)
        while self._index < count and left > 0:
            record = records[self._index]
            offset, now = record.offset, record.timestamp
            if offset >= self.position:
                skipped = None if self.hold is None else self._order_at(offset)
                if mark is not None:
                    mark.at(offset)
                now = max(now, self.log_time)
                if timers.earliest <= now:
                    left = self._fire_due((now + 1).to_bytes(8, "big"), left)
                    if left <= 0:
                        return 0
                if skipped is None:
                    apply(record, now)
                else:
                    processor.skip(record, now, skipped)
                    self.hold = None
                self.log_time = now
                self.position = offset + 1
                self.inputs += 1
                self.total += 1
                left -= 1
            self._index += 1
        if self._index >= count:
            self.position = max(self.position, chunk.end)
            self._queue.popleft()
            self._index = 0
            self.queued -= count
        return left

    def _order_at(self, offset: int) -> str | None:
        """Return the reason to pass over the record at ``offset``; None: it is not held."""
        hold = self.hold
        if hold is None or hold.timer is not None or hold.offset != offset:
            return None
        if hold.order is None:
            raise Held(hold)
        return hold.order

    def _fire_due(self, limit: bytes, left: int) -> int:
        timers = self.processor.timers
        while left > 0 and timers.first(limit) is not None:
            self._fire()
            left -= 1
        if self._mark is not None:
            self._mark.fired()
        return left

    def _fire(self) -> None:
        processor, hold = self.processor, self.hold
        timer = processor.timers.take()
        try:
            if hold is not None and hold.timer == timer:
                if hold.order is None:
                    raise Held(hold)
                self.skipped_timers[timer], self.hold = hold.order, None
            if self._mark is not None:
                self._mark.firing(timer)
            reason = self.skipped_timers.get(timer) if self.skipped_timers else None
            if processor.fire(timer) if reason is None else processor.skip_timer(timer, reason):
                self._count(1)
                self._fired.append(due_of(timer))
        except Blocked:
            processor.timers.put_back(timer)
            raise

    def _count(self, inputs: int) -> None:
        self.inputs += inputs
        self.total += inputs

    # ------------------------------------------------------------------------------- ticks

    def wants_tick(self, wall: float, mono: float) -> bool:
        """Whether this partition is silent, has caught up, and its next timer seems due."""
        if self._queue or self.blocked is not None:
            return False
        if not self.tick.may_send(mono, self._last_record, self.position):
            return False
        limit = (int(self.clock.now(wall)) + 1).to_bytes(8, "big")
        timers = self.processor.timers
        while (timer := timers.first(limit)) is not None:
            due, key = int.from_bytes(timer[:8], "big"), timer[8:].decode()
            # A superseded timer on top must not cause ticks for ever.
            state = self.processor.states.peek(key)
            if state is not None and state.due == due:
                return True
            self.processor.stale.append(timers.take())
        return False

    # ----------------------------------------------------------------------------- commits

    @property
    def has_changes(self) -> bool:
        """Whether a snapshot would hold anything that the last one did not."""
        return self.inputs > 0 or self.position != self.meta.position or self._has_effects

    @property
    def _has_effects(self) -> bool:
        processor = self.processor
        return bool(processor.outputs) or processor.states.dirty

    def wants_snapshot(self, mono: float) -> bool:
        """Whether it is time for a checkpoint; at most one is in flight."""
        if self._inflight or not self.has_changes:
            return False
        config, age = self._config, mono - self._last_snapshot
        if self.full:
            return True
        if self.processor.outputs:
            return age >= (config.backlog_linger if self._queue else config.linger)
        return age >= (config.state_linger if self._has_effects else config.idle_linger)

    def snapshot(self, mono: float) -> Snapshot:
        """Take everything since the last snapshot; ``committed`` must follow before the next."""
        processor = self.processor
        states, checksum = processor.states.snapshot()
        outputs, stale = processor.take_outputs()
        meta = Meta(
            seq=self.meta.seq + 1,
            position=self.position,
            log_time=self.log_time,
            count=len(states),
            checksum=checksum,
            digest=processor.states.digest,
            erasures=self.meta.erasures + processor.erasing,
            purged=self.meta.purged,
        )
        processor.erasing = False
        processor.catalogs.write(meta)
        self.inputs = 0
        self.snapshots += 1
        self._last_snapshot = mono
        self._inflight = True
        fired, self._fired = self._fired, []
        return Snapshot(states, outputs, meta, stale, fired)

    def committed(self, snapshot: Snapshot) -> None:
        """The snapshot is in Kafka and in the store."""
        self._inflight = False
        self.meta = snapshot.meta
        self.processor.states.committed()
        self.processor.catalogs.committed(snapshot.meta)
