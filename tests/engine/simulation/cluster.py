"""Workers of one group over a simulated broker: the product's engine, everything else drawn from a seed.

Real are: ``Engine``, ``Slot``, ``PartitionTask``, ``Processor``, ``KafkaChangelog``, the replay and the
stage. Simulated are the broker, the group, the disks, the clocks and the event loops. A worker may
die at every call to one of these, be frozen for longer than its session, lose its disk or find it
some writes younger than it was.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

from simulation.logs import Broker, Consumer, Crash, Producer
from simulation.loops import NoThreads, SimLoop

from orchestrator.engine import changelog, engine, processor, replay, slots, ticks
from orchestrator.engine import meta as metas
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.engine import Engine, StageSpec
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.simulated import SimulatedStore
from orchestrator.errors import StalledError

SESSION_S = 2.0
_OPENING = frozenset({"init", "initialised", "bounds", "consume", "open store"})
SOURCE, CHANGELOG = "timeline", "changelog"


class Violation(AssertionError):  # noqa: N818 - what it is, not an error of the product
    """What must never be seen while the run goes on."""


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
        for module in (engine, replay, processor, slots, ticks):
            put(module, "_log", _Quiet())
        yield


class Disk:
    """One worker's directory: task -> store, with a few older versions of it."""

    def __init__(self, cluster, keeps_old: int) -> None:
        self.cluster, self.keeps_old = cluster, keeps_old
        self.stores: dict[TaskId, Store] = {}

    def open(self, task: TaskId) -> Store:
        self.cluster.step("open store")
        store = self.stores.get(task)
        if store is None:
            store = self.stores[task] = Store(self)
        elif store.is_open:
            raise Violation(f"{task}: its directory is open already")
        else:
            self.cluster.judge_disk(task, store)
        store.is_open = True
        return store

    def close(self) -> None:
        """The process is gone, its locks with it."""
        for store in self.stores.values():
            store.is_open = False

    def wipe(self, task: TaskId) -> None:
        self.cluster.wiped += 1
        self.stores.pop(task, None)

    def lose(self) -> None:
        self.stores.clear()

    def grow_younger(self, rnd) -> None:
        """A machine that lost its power has lost the last writes, and only these."""
        for store in self.stores.values():
            if store.older:
                store.__setstate__(rnd.choice(store.older))


class Store(SimulatedStore):
    """A store whose writes are steps."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk
        self.is_open = False
        self.older: list[tuple] = []

    def close(self) -> None:
        self.is_open = False

    def write(self, states, meta, stale=()) -> None:
        step = self.disk.cluster.step
        step("before store")
        if self.disk.keeps_old:
            self.older.append((dict(self._states), self._keys[:], self._timers[:], self._meta))
            del self.older[: -self.disk.keeps_old]
        super().write(states, meta, stale)
        step("after store")

    def __setstate__(self, former: tuple) -> None:
        states, keys, timers, self._meta = former
        self._states, self._keys, self._timers = dict(states), keys[:], timers[:]
        self.older.clear()


class Ticks:
    """The tick producer of one worker: ticks may be late, doubled or lost."""

    def __init__(self, worker) -> None:
        self.worker = worker
        self.acks: list = []

    def send(self, task, done) -> None:
        cluster, rnd = self.worker.cluster, self.worker.cluster.rnd
        if cluster.ticks_off or rnd.random() < cluster.broker.trouble:
            self.acks.append(lambda: done(None, 0))
            return
        for _ in range(rnd.choice([1, 1, 1, 2])):
            record = cluster.broker.logs[SOURCE, task.partition].append(
                cluster.broker_clock(), None, None
            )
        if rnd.random() < 0.9:
            self.acks.append(lambda: done(record.offset, record.timestamp))

    def poll(self) -> None:
        acks, self.acks = self.acks, []
        for ack in acks:
            ack()


class Reader:
    """The fetching side of one worker."""

    def __init__(self, worker) -> None:
        self.worker = worker
        self.at: dict[int, int] = {}
        self.fetching: set[int] = set()

    async def seek(self, task, position) -> bool:
        if task.partition not in self.worker.owned:
            return False
        self.at[task.partition] = position
        await asyncio.sleep(self.worker.cluster.rnd.choice([0.0, 0.0, 0.03]))
        return task.partition in self.worker.owned

    def pause(self, task) -> None:
        self.fetching.discard(task.partition)

    def resume(self, task) -> None:
        self.fetching.add(task.partition)

    def active(self, task) -> bool:
        return task.partition in self.fetching

    async def still_ours(self, task, position) -> bool:
        del position
        self.worker.cluster.step("ask the group")
        await asyncio.sleep(0)
        cluster, worker = self.worker.cluster, self.worker
        current = cluster.generation == worker.generation and worker in cluster.members
        return current and task.partition in worker.owned

    def end(self, task) -> int:
        return self.worker.cluster.broker.logs[SOURCE, task.partition].end

    async def fetch(self) -> None:
        """Bring what is there; now and then twice, or with something left out.

        Which partitions are asked for is settled some time before the answer.
        """
        cluster, rnd = self.worker.cluster, self.worker.cluster.rnd
        asked = sorted(self.fetching & self.worker.owned)
        await asyncio.sleep(rnd.choice([0.0, 0.0, 0.03]))
        for partition in asked:
            if partition not in self.worker.owned:
                continue
            log, at = cluster.broker.logs[SOURCE, partition], self.at.get(partition, 0)
            begin = at
            if cluster.broker.fails():
                begin = max(0, at + rnd.choice([-3, 2]))
            end = min(log.stable, begin + rnd.choice([1, 7, 60]))
            if end <= begin:
                continue
            self.at[partition] = max(end, at)
            found = log.committed(begin, end)
            self.worker.engine.offer(Chunk(SOURCE, partition, begin, end, found))


class Worker:
    """One process: an engine, its loop, its place in the group."""

    def __init__(self, cluster, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.disk = Disk(cluster, cluster.rnd.choice([0, 0, 3]))
        self.loop: SimLoop | None = None
        self.owned: set[int] = set()
        self.generation = -1
        self.joined = -1
        self.frozen_until = 0.0
        self.starts_at = 0.0
        self.stopping = False
        self.turning = False
        self.dies_after = 0
        """Steps; 0 = it does not."""

    @property
    def alive(self) -> bool:
        return self.loop is not None

    @property
    def frozen(self) -> bool:
        return self.cluster._now < self.frozen_until

    def start(self) -> None:
        cluster = self.cluster
        self.loop = SimLoop(cluster.rnd, cluster.mono)
        self.owned, self.generation, self.joined, self.stopping = set(), -1, -1, False
        self.reader = Reader(self)
        client = {"sim": cluster.broker}
        config = ChangelogConfig(
            producer=client,
            consumer={**client, "isolation.level": "read_committed"},
            transaction_timeout=15.0,
            commit_timeout=10.0,
            stuck=120.0,
            on_point=cluster.step,
        )
        watermarks = Watermarks(client)

        def changelog_of(task: TaskId) -> KafkaChangelog:
            return KafkaChangelog(
                config,
                watermarks,
                topic=CHANGELOG,
                source=SOURCE,
                partition=task.partition,
                transactional_id=str(task),
            )

        def prepare() -> None:
            self.engine = Engine(
                cluster.config,
                [StageSpec(cluster.work.stage(), SOURCE, cluster.partitions)],
                cluster.work.tools(cluster.rnd),
                changelogs=changelog_of,
                stores=self.disk,
                ticks=Ticks(self),
                on_fatal=self._fatal,
                on_point=cluster.step,
            )
            self.engine.reader = self.reader
            self._spawn(self.engine.run())
            self._spawn(self._live())

        self.loop.call_soon(prepare)
        cluster.members.add(self)

    def _spawn(self, coroutine) -> None:
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._ended)

    def _ended(self, task) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal(error)

    def _fatal(self, error: BaseException) -> None:
        if isinstance(error, StalledError):
            self.cluster.stalls += 1
        else:
            self.cluster.fatal.append(error)
        self.loop.crashed = True

    async def _live(self) -> None:
        """What Faust does: join, revoke, assign, fetch."""
        cluster = self.cluster
        while True:
            if self.stopping:
                await self.engine.close()
                self.loop.crashed = True
                return
            if self not in cluster.members:  # told so by its next heartbeat
                cluster.members.add(self)
                cluster.rebalance()
            if self.joined != cluster.generation:
                wanted = cluster.generation
                self.reader.fetching.clear()
                await self.engine.suspend()
                self.joined = wanted
            elif self.generation != cluster.generation and cluster.complete:
                self.generation = cluster.generation
                self.owned = set(cluster.assignment.get(self.number, ()))
                self.reader.at = {p: self.reader.at.get(p, 0) for p in self.owned}
                await self.engine.assign([TaskId("decide", p) for p in sorted(self.owned)])
            elif self.generation == cluster.generation:
                await self.reader.fetch()
            await asyncio.sleep(cluster.rnd.choice([0.02, 0.1, 0.3]))

    def die(self) -> None:
        self.loop.die()
        self.loop = None
        self.disk.close()
        self.dies_after = 0
        self.starts_at = self.cluster.mono() + self.cluster.rnd.choice([0.0, 0.1, 3.0])


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
            if not late:
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
            for task, core in worker.engine.running().items() if hasattr(worker, "engine") else ():
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
            for task in worker.engine.running()
            if task.partition == partition
        )
