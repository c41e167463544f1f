# ruff: noqa: ARG002 - fakes fulfil protocols whose arguments they do not need
"""The engine's loop over simulated parts: who may open, keep, reopen and must end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace

import pytest
from toys import PlainCodec, PlainEnvelope, ToyStage, event, names, resolve

from orchestrator.engine import watchdog
from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.engine import Engine, StageSpec
from orchestrator.engine.metrics import EngineCollector
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.slots import Slot, Status
from orchestrator.engine.states import Room
from orchestrator.engine.ticks import NoTicks
from orchestrator.errors import (
    BrokerUnavailable,
    FatalError,
    FencedError,
    StalledError,
    TransactionFailed,
)

TASK = TaskId("decide", 0)
CODEC = PlainCodec()


class FakeReader:
    """Remembers seeks; the test says whether the partition is still ours."""

    def __init__(self) -> None:
        self.ours = True
        self.fetching: set[TaskId] = set()
        self.seeks: list[int] = []
        self.meanwhile: list[Callable[[], None]] = []
        """What happens while the reader is placed, once each."""
        self.asked = asyncio.Event()
        """Somebody waits to be told whose the partition is."""
        self.answer = asyncio.Event()
        self.answer.set()

    async def seek(self, task, position):
        self.seeks.append(position)
        if self.meanwhile:
            self.meanwhile.pop()()
        return self.ours

    def pause(self, task):
        self.fetching.discard(task)

    def resume(self, task):
        self.fetching.add(task)

    def active(self, task):
        return task in self.fetching

    async def still_ours(self, task, position):
        self.asked.set()
        await self.answer.wait()
        return self.ours and position >= 0


class OneOwner(SimulatedStores):
    """A directory that can be opened once at a time, as RocksDB's."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.in_use = False

    def open(self, task):
        if self.in_use:
            raise FatalError(f"{task} is in use")
        self.in_use = True
        store = super().open(task)
        store.close = self._close
        return store

    def _close(self) -> None:
        self.in_use = False


class LastFirst(Executor):
    """A pool that begins late, when the loop has come to rest, and with what came last."""

    def __init__(self) -> None:
        self._works: list = []

    def submit(self, work, /, *args):
        future: Future = Future()
        self._works.append((future, work, args))
        asyncio.get_running_loop().call_later(0.02, self._run)
        return future

    def _run(self) -> None:
        future, work, args = self._works.pop()
        try:
            future.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - as a thread would keep it
            future.set_exception(error)


class Rig:
    """One engine with one partition."""

    def __init__(self) -> None:
        self.world = World()
        self.fatal: list[BaseException] = []
        self.reader = FakeReader()
        envelope = PlainEnvelope()
        config = EngineConfig(clock="log", linger=0.0, state_linger=0.0, suspend_deadline=2.0)
        tools = Tools(
            decoder=Decoder(CODEC),
            encoder=OutputEncoder(CODEC, envelope, names, config.max_message),
            envelope=envelope,
            book=CatalogBook(resolve),
            max_state=config.max_state,
            room=Room(config.cached_bytes),
        )
        self.engine = Engine(
            config,
            [StageSpec(ToyStage(), "t", 1)],
            tools,
            changelogs=lambda _: SimulatedChangelog(self.world),
            stores=OneOwner(self.world),
            ticks=NoTicks(),
            on_fatal=self.fatal.append,
        )
        self.engine.reader = self.reader

    def send(self, count: int) -> None:
        begin = len(self.world.log)
        for number in range(count):
            self.world.append(number, b"c", CODEC.encode(event("toy.seen", number), ""))
        end = len(self.world.log)
        self.engine.offer(Chunk("t", 0, begin, end, self.world.log[begin:end]))

    @property
    def committed(self) -> int:
        core = self.engine.slots[TASK].core
        return -1 if core is None else core.meta.position

    async def until(self, condition) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - looks from outside, the engine tells nobody
                await asyncio.sleep(0.01)


@pytest.fixture
async def rig():
    made = Rig()
    running = asyncio.ensure_future(made.engine.run())
    yield made
    await made.engine.close()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_an_assigned_partition_runs_and_commits(rig):
    """Seek first, then run, then fetch."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    assert (rig.reader.seeks, rig.reader.fetching) == ([0], {TASK})
    rig.send(10)
    await rig.until(lambda: rig.committed == 10)
    assert not rig.fatal


async def test_a_chunk_that_comes_while_the_reader_is_placed_is_read_again(rig):
    """It is dropped; in a silent partition nobody else would miss it, so the reader is placed once more."""
    rig.reader.meanwhile.append(lambda: rig.send(3))
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    assert rig.reader.seeks == [0, 0]
    assert rig.reader.fetching == {TASK}


async def test_a_kept_partition_stays_open_unless_somebody_else_wrote(rig):
    """One question for the changelog's end decides: same slot, or a new one."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.send(5)
    slot = rig.engine.slots[TASK]
    await rig.until(lambda: slot.core.position == 5)
    await rig.engine.suspend()
    assert (slot.status, rig.committed) == (Status.SUSPENDED, 5)
    await rig.engine.assign([TASK])
    assert rig.engine.slots[TASK] is slot
    assert rig.reader.seeks == [0, 5]
    await rig.engine.suspend()
    slot.known_end -= 1
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    assert rig.engine.slots[TASK] is not slot
    assert rig.committed == 5


async def test_a_fenced_partition_reopens_only_while_it_is_ours(rig):
    """A zombie must not fence the rightful owner: it asks the group first."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.reader.ours = False
    SimulatedChangelog(rig.world).fence(lambda: False)
    owner = rig.world.owner
    rig.send(5)
    await rig.until(lambda: rig.engine.slots[TASK].status is Status.DEAD)
    await asyncio.sleep(1.2)  # two questions later
    assert (rig.world.owner, rig.engine.totals.reopened) == (owner, 0)
    assert not rig.world.outputs
    rig.reader.ours = True
    await rig.until(lambda: rig.engine.ready(TASK))
    assert rig.engine.totals.reopened == 1
    assert rig.reader.seeks[-1] == 0


async def dead_and_asking(rig) -> int:
    """Let a partition die while the group owes an answer whose it is; return who fenced it."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.reader.answer.clear()
    SimulatedChangelog(rig.world).fence(lambda: False)
    rig.send(5)
    await rig.reader.asked.wait()
    rig.engine._openings = LastFirst()
    return rig.world.owner


async def test_a_death_and_an_assignment_open_a_partition_once(rig):
    """The group's answer comes in the turn of the loop in which the partition is assigned anew."""
    owner = await dead_and_asking(rig)
    await rig.engine.suspend()
    rig.reader.answer.set()
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.fatal or rig.engine.ready(TASK))
    assert (rig.fatal, rig.world.owner) == ([], owner + 1)


async def test_an_opening_waits_for_one_that_came_too_late_to_be_cancelled(rig):
    """Taken away and given back while it is being opened: first what was opened is closed."""
    rig.engine._openings = LastFirst()
    await rig.engine.assign([TASK])
    await asyncio.sleep(0)  # the opening waits for the pool
    await rig.engine.suspend()
    await rig.engine.assign([])
    await rig.engine.suspend()
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.fatal or rig.engine.ready(TASK))
    assert (rig.fatal, rig.world.owner) == ([], 2)


async def test_an_engine_that_closes_opens_nothing(rig):
    """The group's answer to a death comes while everything is being closed."""
    owner = await dead_and_asking(rig)
    rig.reader.answer.set()
    await rig.engine.close()
    await rig.until(lambda: not rig.engine._background)
    assert (rig.fatal, rig.world.owner, rig.engine.slots) == ([], owner, {})


async def test_an_opening_that_fails_late_leaves_the_directory(rig, monkeypatch):
    """A broker that goes away behind the replay: the next attempt finds nobody there."""
    answers = iter([BrokerUnavailable("away"), (0, 0)])

    def source_bounds(_self):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(SimulatedChangelog, "source_bounds", source_bounds)
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.fatal or rig.engine.ready(TASK))
    assert not rig.fatal


async def test_the_last_position_is_known_before_the_end(rig, monkeypatch):
    """A commit slower than a rebalance may wait for: the group is told of it all the same.

    Its offsets are all that tells where to go on if the changelog is lost while nobody runs.
    """
    rig.engine.config = replace(rig.engine.config, suspend_deadline=0.0)
    plain, goes_on = SimulatedChangelog.commit, threading.Event()

    def commit(self, snapshot):
        goes_on.wait(30)
        return plain(self, snapshot)

    monkeypatch.setattr(SimulatedChangelog, "commit", commit)
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.send(5)
    await rig.until(lambda: rig.engine.slots[TASK].commit is not None)
    await rig.engine.suspend()
    slot = rig.engine.slots[TASK]
    assert slot.checkpointed == 0
    asyncio.get_running_loop().call_later(0.05, goes_on.set)
    await rig.engine.settle()
    assert slot.checkpointed > 0


async def test_a_partition_that_is_gone_is_closed(rig):
    """And its counters are kept for the metrics."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.send(5)
    await rig.until(lambda: rig.committed == 5)
    await rig.engine.suspend()
    await rig.engine.assign([])
    await rig.until(lambda: not rig.engine.slots)
    await rig.until(lambda: rig.engine.totals.now(())["decide"].counters.events == 5)


async def test_what_prometheus_reads(rig):
    """State size, CPU, hot and misplaced keys, replay, failures, from the engine."""
    rig.engine.reader.end = lambda _task: 70
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.send(64)
    await rig.until(lambda: rig.committed == 64)
    rig.engine.totals.died(rig.engine.slots[TASK], FencedError("x"))
    rig.engine.totals.died(rig.engine.slots[TASK], TransactionFailed("x"))
    found = {
        (sample.name.removeprefix("orchestrator_"), *sample.labels.values()): sample.value
        for family in EngineCollector(rig.engine, wall=lambda: 10.0).collect()
        for sample in family.samples
    }
    stored = rig.world.disk.size()
    assert stored[0] == 1
    wanted = {
        ("states", "decide"): 1,
        ("state_bytes", "decide"): stored[1],
        ("hottest_key_share", "decide"): 1.0,
        ("misplaced_keys_total", "decide"): 0,
        ("replayed_records_total", "decide"): 0,
        ("transactions_failed_total", "decide", "fenced"): 1,
        ("transactions_failed_total", "decide", "unknown"): 1,
        ("partition_lag_records", "decide", "0"): 6,
        ("partitions", "decide", "running"): 1,
    }
    assert wanted.items() <= found.items()
    assert found["stage_cpu_seconds_total", "decide"] > 0
    before = found["inputs_total", "decide", "events"]
    assert before == 64
    await rig.engine.suspend()
    await rig.engine.assign([])
    await rig.until(lambda: not rig.engine.slots)
    await rig.until(lambda: rig.engine.totals.now(())["decide"].cpu > 0)


async def test_a_gap_seeks_back(rig):
    """Nothing is lost when a chunk is missing."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    rig.engine.offer(Chunk("t", 0, 3, 4, []))
    await rig.until(lambda: len(rig.reader.seeks) == 2 and rig.engine.ready(TASK))
    assert rig.reader.seeks == [0, 0]


def test_standing_still_without_a_word_ends_the_process():
    """Suspended and forgotten, or running and not fetched: the silent stall."""
    config = replace(EngineConfig(), start_deadline=30.0)
    reader = FakeReader()
    slot = Slot(TASK, SimulatedChangelog(World()))
    watchdog.check(slot, reader, config, 0.0)
    watchdog.check(slot, reader, config, 1_000.0)
    slot.status = Status.SUSPENDED
    watchdog.check(slot, reader, config, 1_000.0)
    watchdog.check(slot, reader, config, 1_029.0)
    with pytest.raises(StalledError, match="decide-0 stands still"):
        watchdog.check(slot, reader, config, 1_031.0)
