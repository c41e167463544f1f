# ruff: noqa: ARG002 - fakes fulfil protocols whose arguments they do not need
"""A record that kills its worker: counted over deaths, held, passed over by an order in the log."""

from __future__ import annotations

import os
import signal
import struct
import sys

import pytest
from test_processor import CODEC, Bench
from toys import ToyStage, event, switch

from orchestrator.engine.decoding import Blocked
from orchestrator.engine.holding import Hold, no_skip
from orchestrator.engine.marks import DEATHS, SWEEP, Marks
from orchestrator.engine.meta import encode
from orchestrator.engine.ports import TaskId
from orchestrator.engine.timers import entry
from orchestrator.errors import FatalError, UnavailableError

TASK = TaskId("decide", 3)


def die_at(marks: Marks, offset: int, timer: bytes | None = None) -> None:
    """A process that is killed while it applies a record."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        mark = marks.open(TASK)
        mark.at(offset)
        if timer is not None:
            mark.firing(timer)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_deaths_at_one_record_are_counted_across_processes(tmp_path):
    """Only at the same record, and only while it was being applied."""
    marks = Marks(tmp_path / "marks")
    for _ in range(DEATHS - 1):
        die_at(marks, 7)
    assert marks.open(TASK).held is None
    die_at(marks, 8)
    die_at(marks, 7)
    assert marks.open(TASK).held is None, "another record came between"
    for _ in range(DEATHS - 1):
        die_at(marks, 7)
    mark = marks.open(TASK)
    assert mark.held == 7
    mark.at(9)
    mark.away()
    mark.close()
    mark.close()
    assert marks.open(TASK).held == 7, "an orderly end counts nothing"
    marks.path(TASK).unlink()
    assert marks.open(TASK).held is None


def test_a_held_task_goes_up_to_the_record_and_on_after_the_order():
    """All in front of it is applied; what is passed over becomes a dead letter, the rest follows."""
    answers: list[tuple[str | None, int]] = [(None, 5), ("it kills", 6)]
    asked: list[int] = []

    def find(
        topic: str, partition: int, offset: int, timer: bytes | None, start: int
    ) -> tuple[str | None, int]:
        assert (topic, partition, offset, timer) == ("timeline", 0, 2, None)
        asked.append(start)
        return answers.pop(0)

    bench = Bench()
    bench.core.hold = Hold("timeline", 0, 2, find)
    for number in range(4):
        bench.append(number, event("toy.seen", number))
    bench.run()
    assert (bench.core.position, bench.states.peek("c").n) == (2, 2)
    blocked = bench.core.blocked
    assert isinstance(blocked, Blocked)
    assert "timeline [0] offset 2" in str(blocked)
    with pytest.raises(UnavailableError, match="state skip"):
        blocked.remedy()
    blocked.remedy()
    bench.core.blocked = None
    bench.run()
    assert asked == [3, 5]
    assert (bench.core.position, bench.states.peek("c").n) == (4, 3)
    (dead,) = bench.dead
    assert (dead["cause"], dead["exception.message"], dead["offset"]) == (
        b"skipped",
        b"it kills",
        b"2",
    )
    assert dead["value"] == bench.world.log[2].value


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_deaths_at_one_timer_are_told_from_those_at_its_record(tmp_path):
    """The same offset, but another timer or the record itself: counted apart."""
    marks, first, second = Marks(tmp_path / "marks"), entry(20, b"c"), entry(20, b"d" * 2_000)
    for timer in (first, first, second, None, second, second):
        die_at(marks, 7, timer)
    mark = marks.open(TASK)
    assert (mark.held, mark.held_timer) == (None, second[:1024])
    mark.close()
    die_at(marks, 7, second)
    mark = marks.open(TASK)
    assert (mark.held, mark.held_timer) == (7, second[:1024])
    mark.close()
    for _ in range(DEATHS):
        die_at(marks, 7)
    assert marks.open(TASK).held_timer is None


def test_a_mark_of_an_earlier_version_is_read_on(tmp_path):
    """Its file was shorter; what it tells still counts."""
    marks = Marks(tmp_path)
    marks.path(TASK).write_bytes(struct.pack("=3q", 0, 8, DEATHS))
    mark = marks.open(TASK)
    assert (mark.held, mark.held_timer) == (7, None)


def test_a_held_timer_is_passed_over_by_its_own_order():
    """What is due before it fires, it itself leaves a dead letter, the record behind it is applied."""
    asked: list[bytes | None] = []

    def find(
        topic: str, partition: int, offset: int, timer: bytes | None, start: int
    ) -> tuple[str | None, int]:
        assert (topic, partition, offset) == ("timeline", 0, 2)
        asked.append(timer)
        return (None if len(asked) < 2 else "it kills"), start

    bench = Bench()
    bench.append(5, event("toy.armed", 1, 11, "a"), b"a")
    bench.append(5, event("toy.armed", 2, 12, "b"), b"b")
    bench.run()
    bench.core.hold = Hold("timeline", 0, 2, find, entry(12, b"b"))
    bench.append(30, event("toy.seen", 3, 0, "a"), b"a")
    bench.run()
    assert bench.core.position == 2
    fired = [bench.states.peek("a").n, bench.states.peek("b").n]
    assert fired[0] > 1
    assert fired[1] == 1
    blocked = bench.core.blocked
    assert isinstance(blocked, Blocked)
    with pytest.raises(UnavailableError, match="state skip timeline 0 2 --timer b --due 12 "):
        blocked.remedy()
    blocked.remedy()
    bench.core.blocked = None
    bench.run()
    assert asked == [entry(12, b"b")] * 2
    assert (bench.core.position, bench.states.peek("b").n, bench.states.peek("b").due) == (3, 1, 0)
    (dead,) = bench.dead
    assert (dead["cause"], dead["key"], dead["orchestrator.doing"], dead["orchestrator.at"]) == (
        b"skipped",
        b"b",
        b"fire",
        b"12",
    )
    assert bench.core.processor.skip_timer(entry(12, b"b"), "again") is False, "superseded"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_deaths_in_a_catalog_sweep_hold_the_partition(tmp_path):
    """No order passes over a part of a catalog; the worker lives, says why, and the rest goes on."""
    marks = Marks(tmp_path / "marks")

    for number in range(DEATHS):
        die_sweeping(marks, number)
    mark = marks.open(TASK)
    assert (mark.held, mark.held_timer) == (4, SWEEP)
    bench = swept(ToyStage())
    bench.core._mark, bench.core.hold = mark, Hold("timeline", 0, 2, no_skip, SWEEP)
    assert bench.core.sweep(10) == 0
    with pytest.raises(UnavailableError, match="new catalog: nothing of it is passed over"):
        bench.core.blocked.remedy()
    bench.core.blocked = bench.core.hold = None
    assert bench.core.sweep(10) == 1
    mark.close()
    assert marks.open(TASK).held is None, "it came to its end"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_deaths_in_sweeps_that_came_to_their_end_do_not_add_up(tmp_path):
    """A worker that was killed now and then in years of catalogs is not held for it."""
    marks = Marks(tmp_path / "marks")
    for number in range(DEATHS + 2):
        die_sweeping(marks, number)
        bench = swept(ToyStage())
        bench.core._mark = mark = marks.open(TASK)
        assert mark.held is None
        assert bench.core.sweep(10) == 1
        mark.close()


def die_sweeping(marks: Marks, number: int) -> None:
    """A process that is killed in a sweep, after ``number`` more records than before."""

    class Deadly(ToyStage):
        def switch(self, *args):
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        bench = swept(Deadly())
        bench.core._mark = marks.open(TASK)
        bench.core.position += number
        bench.core.sweep(10)
    os.waitpid(child, 0)


def swept(stage: ToyStage) -> Bench:
    """A task with one state and a catalog that it has yet to be brought to."""
    bench = Bench(stage)
    bench.append(1, event("toy.seen", 1))
    bench.append(2, switch("new"))
    bench.run_on()
    core = bench.core
    snapshot = core.snapshot(0.0)
    core.processor._store.write(snapshot.states, encode(snapshot.meta))
    core.committed(snapshot)
    return bench


def test_a_fault_of_ours_is_no_dead_letter():
    """A topic whose records were not prepared ends the process; no input pays for it."""

    class Unprepared(type(CODEC)):
        def encode(self, record, topic):
            raise FatalError("was not prepared")

    bench = Bench(codec=Unprepared())
    for number in range(3):
        bench.append(number, event("toy.seen", number))
    with pytest.raises(FatalError, match="not prepared"):
        bench.run()
    assert bench.dead == []


def test_keys_on_foreign_partitions_are_counted():
    """One key in 64 is held against murmur2: a foreign partitioner would give a customer two states."""
    bench = Bench()
    bench.core.processor._partitions = 64
    for number in range(200):
        bench.append(number, event("toy.seen", number), key=b"c%d" % number)
    bench.run()
    assert bench.core.processor.counters.misplaced >= 3
