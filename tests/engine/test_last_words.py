"""What a worker tells its group when it stops: where it ends, also in the midst of a rebalance."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.errors import CommitFailedError, GroupCoordinatorNotAvailableError
from faust.types import TP

from orchestrator.engine import faust_seams
from orchestrator.engine.ports import TaskId


class Telling(faust_seams.EngineConsumer):
    """A consumer whose group answers as it is told."""

    def __init__(self, *answers):
        """Nothing of Faust's; ``told`` notes what was committed."""
        self.answers, self.told = list(answers), []
        slots = {
            TaskId("decide", number): SimpleNamespace(holds=number < 3, checkpointed=10 * number)
            for number in range(4)
        }
        engine = SimpleNamespace(slots=slots, source_of=lambda _task: "timeline")
        self.app = SimpleNamespace(engine=engine)
        self._thread = SimpleNamespace(commit_positions=dict)

    def assignment(self):
        return {TP("timeline", number) for number in (0, 2, 3)}

    async def in_thread(self, work, _deadline):
        self.told.append(work)
        if answer := self.answers.pop(0):
            raise answer


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        ([CommitFailedError(), CommitFailedError(), None], 3),
        ([None], 1),
        ([TimeoutError()], 1),
        ([GroupCoordinatorNotAvailableError()], 1),
    ],
)
async def test_a_group_that_rebalances_hears_the_last_positions_all_the_same(
    answers, times, monkeypatch
):
    """Workers that stop together stop in each other's rebalance; what else fails is not waited for."""
    monkeypatch.setattr(faust_seams, "LAST_WORD_PAUSE_S", 0)
    consumer = Telling(*answers)
    await consumer._tell_last()
    assert consumer.told == [{("timeline", 2): 20}] * times
    assert not consumer.answers


async def test_the_last_word_has_an_end(monkeypatch):
    """A rebalance that does not end must not keep a worker from stopping."""
    monkeypatch.setattr(faust_seams, "LAST_WORD_S", 0)
    consumer = Telling(CommitFailedError(), CommitFailedError())
    await consumer._tell_last()
    assert len(consumer.told) == 1


@pytest.mark.parametrize("holds", [True, False])
async def test_who_owns_nothing_has_nothing_to_tell(holds):
    """A worker may be stopped when all has moved away, or before it has a consumer."""
    consumer = Telling()
    if holds:
        consumer.assignment = set
    else:
        consumer.engine.slots.clear()
        consumer.assignment = None
    await consumer._tell_last()
    assert consumer.told == []
