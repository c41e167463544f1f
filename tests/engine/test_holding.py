# ruff: noqa: ARG002 - fakes fulfil protocols whose arguments they do not need
"""A record that kills its worker: counted over deaths, held, passed over by an order in the log."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from test_processor import CODEC, Bench
from toys import event

from orchestrator.engine.decoding import Blocked
from orchestrator.engine.holding import Hold
from orchestrator.engine.marks import DEATHS, Marks
from orchestrator.engine.ports import TaskId
from orchestrator.errors import FatalError, UnavailableError

TASK = TaskId("decide", 3)


def die_at(marks: Marks, offset: int) -> None:
    """A process that is killed while it applies a record."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        mark = marks.open(TASK)
        mark.at(offset)
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

    def find(topic: str, partition: int, offset: int, start: int) -> tuple[str | None, int]:
        assert (topic, partition, offset) == ("timeline", 0, 2)
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
