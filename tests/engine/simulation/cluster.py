"""Workers of one group over a simulated broker: the product's engine, everything else drawn from a seed.

Real are: ``Engine``, ``Slot``, ``PartitionTask``, ``Processor``, ``KafkaChangelog``, the replay and the
stage. Simulated are the broker, the group, the disks, the clocks and the event loops. A worker may
die at every call to one of these, be frozen for longer than its session, lose its disk or find it
some writes younger than it was.
"""

from __future__ import annotations

from asyncio import events
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

from simulation.logs import Broker, Consumer, Crash, Producer
from simulation.loops import NoThreads
from simulation.workers import CHANGELOG, SOURCE, Store, Violation, Worker

from orchestrator.engine import changelog, engine, processor, replay, slots, ticks
from orchestrator.engine import meta as metas
from orchestrator.engine.ports import TaskId

SESSION_S = 2.0
_OPENING = frozenset({"init", "initialised", "bounds", "consume", "open store"})


class _Quiet:
    def __getattr__(self, _name):
        return lambda *_, **__: None


class _Time:
    """Stands for the module ``time``."""

    def __init__(self, cluster) -> None:
        self.monotonic = self.thread_time = cluster.mono


@contextmanager
def simulated(cluster):
    """Put the simulated parts where the product's modules look for the real ones."""
    with ExitStack() as stack:
        put = lambda *what: stack.enter_context(mock.patch.object(*what))  # noqa: E731
        put(changelog, "Producer", Producer)
        put(changelog, "Consumer", Consumer)
        put(changelog, "time", _Time(cluster))
        put(engine, "time", _Time(cluster))
        put(engine, "wall_ms", cluster.wall)
        put(engine, "ThreadPoolExecutor", NoThreads)
        put(ticks, "time", _Time(cluster))
        put(ticks, "wall_ms", cluster.wall)
        # so that a replay is several writes
        put(replay, "BATCH_KEYS", cluster.portion)
        for module in (engine, replay, processor, slots, ticks):
            put(module, "_log", _Quiet())
        yield


@dataclass(slots=True)
class Faults:
    """What has been done so far."""

    crashes: int = 0
    freezes: int = 0
    stops: int = 0
    disks: int = 0
    rebalances: int = 0
    at: set = field(default_factory=set)
    """Steps at which somebody died."""


class Cluster:
    """See the module docstring.

    Args:
        rnd: Where everything is drawn from.
        work: Stage, records and truth.
        partitions: Of the input.
        config: The engine's.
    """

    def __init__(self, rnd, work, partitions: int, config) -> None:
        self.rnd, self.work, self.partitions, self.config = rnd, work, partitions, config
        self._now = 0.0
        self.skew = rnd.choice([0, 0, -3_000, 40, 7_000])
        self.broker = Broker(rnd, self.step, self.broker_clock)
        self.workers = [Worker(self, number) for number in range(rnd.choice([1, 2, 2, 3]))]
        self.portion = rnd.choice([2, 100])
        """Keys that a replay writes at once."""
        self.members: set[Worker] = set()
        self.generation = 0
        self.assignment: dict[int, list[int]] = {}
        self.complete = False
        self.records = self.to_come = 0
        """Records and faults of this run."""
        self.exact = False
        """Who is to die after so many steps dies, however late."""
        self.again_at = 0.0
        """When the group is asked to join once more; 0 = it is not."""
        self.ticks_off = False
        self.fatal: list[BaseException] = []
        self.stalls = self.wiped = self.steps = 0
        self.faults = Faults()
        self._current: Worker | None = None
        self._turns = 0

    # ---------------------------------------------------------------------------------- time

    def mono(self) -> float:
        return self._now

    def wall(self) -> float:
        return self.work.begin + self._now * 1000 * self.work.scale

    def broker_clock(self) -> int:
        return int(self.wall() + self.skew * self.work.scale)

    # --------------------------------------------------------------------------------- steps

    def step(self, name: str) -> None:
        """Let the current worker die here, or somebody else go on meanwhile."""
        worker = self._current
        if worker is None:
            return
        self.steps += 1
        if worker.dies_after:
            worker.dies_after -= 1
            if not worker.dies_after:
                self.faults.crashes += 1
                self.faults.at.add(name)
                worker.loop.crashed = True
                raise Crash(name)
        share = 0.2 if name in _OPENING else 0.02
        if len(self.workers) > 1 and self.rnd.random() < share:
            other = self.rnd.choice(self.workers)
            if other is worker or not other.alive or other.turning:
                return
            if other.frozen and name in _OPENING:  # the zombie wakes while its successor opens
                other.frozen_until = 0.0
            for _ in range(self.rnd.choice([1, 1, 4, 12])):
                if other.alive and not other.frozen:
                    self._turn(other)

    def _turn(self, worker: Worker) -> None:
        if worker.turning:
            return
        outer, self._current, worker.turning = self._current, worker, True
        try:
            worker.loop.turn()
        except Crash:
            worker.loop.crashed = True
        finally:
            self._current, worker.turning = outer, False
        if outer is not None:
            events._set_running_loop(outer.loop)
        if worker.loop.crashed:
            worker.die()

    # --------------------------------------------------------------------------------- group

    def rebalance(self) -> None:
        """Ask everybody to join again."""
        self.generation += 1
        self.complete = False
        self._since = self._now

    def _tend_group(self) -> None:
        gone = {
            one
            for one in self.members
            if not one.alive or (one.frozen and self._now - one.frozen_since > SESSION_S)
        }
        if gone:
            self.members -= gone
            self.rebalance()
        if any(one.alive and one.joined < 0 for one in self.members) and self.complete:
            self.rebalance()
        if not self.complete and self.members:
            late = [one for one in self.members if one.joined != self.generation]
            if late and self._now - self._since > 5.0:
                self.members -= set(late)
                late = []
            if self.members and not late:  # nobody: whoever comes next is waited for
                self._assign()

    def _assign(self) -> None:
        there = sorted(one.number for one in self.members)
        self.complete = True
        self.assignment = {number: [] for number in there}
        for partition in range(self.partitions):
            if there:
                self.assignment[self.rnd.choice(there)].append(partition)

    # ------------------------------------------------------------------------------- running

    def turn(self) -> None:
        """One step of the world."""
        now, ready, following = self._now, [], self._now + 0.5
        for worker in self.workers:
            if worker.loop is None:
                if worker.starts_at <= now:
                    worker.start()
                    ready.append(worker)
                following = min(following, worker.starts_at)
            else:
                due = max(worker.loop.due, worker.frozen_until)
                if due <= now:
                    ready.append(worker)
                following = min(following, due)
        if ready:
            chosen = ready[int(self.rnd.random() * len(ready))]
            self._turn(chosen)
            self._now += 0.0005
        else:
            self._now = max(now + 0.001, following)
        self._turns += 1
        if self.again_at and self._now > self.again_at:
            self.again_at = 0.0
            self.rebalance()
        if not ready or self._turns % 8 == 0:
            self.broker.tend()
            self._tend_group()
        if self.fatal:
            raise Violation(f"a worker ended: {self.fatal[0]!r}") from self.fatal[0]

    @property
    def settled(self) -> bool:
        """Whether every partition is applied, committed and swept."""
        seen = set()
        for worker in self.workers:
            if not worker.alive or worker.frozen:
                return False
            for task, core in worker.running().items():
                if task.partition not in worker.owned:
                    return False
                log = self.broker.logs[SOURCE, task.partition]
                catalogs = core.processor.catalogs
                if core.position != log.end or core.has_changes or core.waiting:
                    return False
                if catalogs.sweep is not None:
                    return False
                seen.add(task.partition)
        return len(seen) == self.partitions and self.complete

    # ------------------------------------------------------------------------------- judging

    def changelog(self, partition: int, end: int | None = None):
        """Return (states, newest meta) as read_committed sees them up to ``end``."""
        states, last = {}, None
        for one in self.broker.logs[CHANGELOG, partition].committed(0, end):
            if one.key == metas.META_KEY:
                last = metas.decode(one.value)
            elif one.value is None:
                states.pop(one.key, None)
            else:
                states[one.key] = one.value
        return states, last

    def judge_disk(self, task: TaskId, store: Store) -> None:
        """A copy that calls itself verified says what the changelog said at its offset."""
        raw = store.meta()
        meta = metas.decode(raw) if raw else None
        if meta is None or not meta.verified:
            return
        states, last = self.changelog(task.partition, meta.changelog_offset)
        if last is None or last.seq != meta.seq or dict(store.items()) != states:
            raise Violation(f"the copy of {task} at seq {meta.seq} is not the changelog's")

    def store_of(self, partition: int) -> Store:
        """Return the open store of a settled partition."""
        return next(
            worker.disk.stores[task]
            for worker in self.workers
            for task in worker.running()
            if task.partition == partition
        )
