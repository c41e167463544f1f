"""One process of the simulated deployment: its disk, its place in the group, the product's engine."""

from __future__ import annotations

import asyncio

from simulation.loops import SimLoop

from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.engine import Engine, StageSpec
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.simulated import SimulatedStore
from orchestrator.errors import StalledError

SOURCE, CHANGELOG = "timeline", "changelog"


class Violation(AssertionError):  # noqa: N818 - what it is, not an error of the product
    """What must never be seen while the run goes on."""


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
        self.engine: Engine | None = None
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

    def running(self):
        """Return its tasks that take input: none before its loop has turned once."""
        return {} if self.engine is None else self.engine.running()

    def start(self) -> None:
        cluster = self.cluster
        self.loop, self.engine = SimLoop(cluster.rnd, cluster.mono), None
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
                cluster.work.tools(cluster.rnd, cluster.config),
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
