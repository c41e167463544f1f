"""Whatever goes wrong in agent, checkpoint, replay or loop ends the process: non-zero, with a remedy."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mode import Service
from structlog.testing import capture_logs
from test_engine import TASK, FakeReader, Rig

from orchestrator.engine import host
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.meta import META_KEY, Meta, encode
from orchestrator.engine.ports import ChangelogRecord, Chunk, Snapshot
from orchestrator.errors import ChangelogTorn, FatalError, StalledError, TransactionFailed


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def ends(monkeypatch):
    """Exit codes, instead of exits."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr("os._exit", leave)
    return codes


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("a slip"), "RuntimeError: a slip"),
        (ChangelogTorn("does not add up. Put it back"), "ChangelogTorn: does not add up"),
        (StalledError("decide-0 stands still"), "StalledError: decide-0 stands still"),
    ],
)
def test_the_last_words_name_the_cause_and_what_comes_next(ends, error, text):
    """One line: why, the code, that a supervisor starts it again, and where to read on."""
    with capture_logs() as logs, pytest.raises(Ended):
        host.die(error)
    (said,) = logs
    assert said["why"].startswith(text)
    assert (ends, said["code"]) == ([70], 70)
    assert "nothing is lost" in said["remedy"]
    assert "deploy/README.md" in said["remedy"]


class Crashing(Service):
    """Stands for a service of Faust's, the group's coordinator perhaps: it fails at its start, or later."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    async def on_start(self) -> None:
        if self.when == "start":
            raise ConnectionError("no coordinator")

    @Service.task
    async def _later(self) -> None:
        if self.when == "cancelled":
            await self.crash(asyncio.CancelledError("no coordinator"))
        raise ConnectionError("no coordinator")


@pytest.mark.parametrize("when", ["start", "later", "cancelled"])
def test_a_crash_inside_faust_has_the_same_last_words(ends, when):
    """Mode would end with code 1 and a traceback: nobody at night knows what that means for the data."""
    with capture_logs() as logs, pytest.raises(Ended):
        host.serve(lambda: Crashing(when))
    said = logs[-1]
    assert said["why"].endswith("Error: no coordinator")
    assert "nothing is lost" in said["remedy"]
    assert ends == [70]


async def test_an_error_in_the_agent_ends_the_process(ends):
    """Faust would log it, acknowledge the event and go on: the chunk would be lost."""

    def offer(*_: object) -> None:
        raise KeyError("a slip")

    app = SimpleNamespace(
        reader=SimpleNamespace(current=lambda *_: True), engine=SimpleNamespace(offer=offer)
    )

    async def chunks():
        yield Chunk("t", 0, 0, 1, [])

    with pytest.raises(Ended):
        await host._delivery(app)(chunks())
    assert ends == [70]


@pytest.fixture
async def rig():
    made = Rig()
    running = asyncio.ensure_future(made.engine.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_an_error_in_a_checkpoint_ends_the_process(rig, monkeypatch):
    """Kafka has the transaction and the disk has not: only a new start finds that out."""
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.engine.ready(TASK))
    store = rig.engine.slots[TASK].store

    def write(*_: object) -> None:
        raise OSError("a slip")

    monkeypatch.setattr(store, "write", write)
    rig.send(3)
    await rig.until(lambda: rig.fatal)
    assert isinstance(rig.fatal[0], OSError)


@pytest.mark.parametrize("error", [RuntimeError("a slip"), ChangelogTorn("torn")])
async def test_an_error_in_a_replay_ends_the_process(rig, monkeypatch, error):
    """A partition that cannot be opened is not passed over in silence."""
    rig.world.changelog.append(ChangelogRecord(0, META_KEY, encode(Meta(seq=1))))

    def read(*_: object) -> None:
        raise error

    monkeypatch.setattr("orchestrator.engine.simulated.SimulatedChangelog.read", read)
    await rig.engine.assign([TASK])
    await rig.until(lambda: rig.fatal)
    assert rig.fatal == [error]


class Deaf(FakeReader):
    """Is told to fetch, and does not."""

    def resume(self, task):
        """Nothing happens: the silent stall."""


async def test_a_silent_stall_ends_the_loop():
    """Assigned, no error, no progress: provoked, not computed."""
    made = Rig()
    made.engine.config = replace(made.engine.config, start_deadline=0.05)
    made.reader = made.engine.reader = Deaf()
    running = asyncio.ensure_future(made.engine.run())
    await made.engine.assign([TASK])
    with pytest.raises(StalledError, match="decide-0 stands still: not fetched"):
        await asyncio.wait_for(running, 60)
    await made.engine.close()


def test_a_loop_that_does_not_turn_ends_the_process(monkeypatch):
    """The thread looks from outside: a blocked loop hears no signal."""
    died: list[BaseException] = []

    def die(error: BaseException) -> None:
        died.append(error)
        watch.stop()

    monkeypatch.setattr(host, "die", die)
    watch = host.LoopWatchdog(lambda: 1.0, look_s=0.001)
    watch.start()
    watch.join(60)
    assert isinstance(died[0], FatalError)
    assert "has not turned" in str(died[0])


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'Logger' object has no attribute 'log'"),
        SystemError("<class 'LogRecord'> returned a result with an exception set"),
    ],
)
def test_a_fatal_error_of_the_client_that_its_log_hides_kills_the_task_alone(error):
    """Seen when a fenced producer logged behind its error: the process ended, all partitions with it."""

    class Fenced:
        def begin_transaction(self):
            raise error

    class Slip:
        def begin_transaction(self):
            raise AttributeError("'NoneType' object has no attribute 'x'")

    config = ChangelogConfig(
        producer={}, consumer={}, transaction_timeout=1, commit_timeout=1, stuck=1
    )
    changelog = KafkaChangelog(
        config, Watermarks({}), topic="c", source="s", partition=0, transactional_id="t"
    )
    snapshot = Snapshot([], [], Meta(seq=1))
    changelog._producer = Fenced()
    with pytest.raises(TransactionFailed, match="lost behind its log"):
        changelog.commit(snapshot)
    changelog._producer = Slip()
    with pytest.raises(AttributeError):
        changelog.commit(snapshot)
