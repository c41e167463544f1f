"""The engine with toy stages on a real broker: exact through crashes, rebalances, lost disks."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from engine_lab import Lab
from toys import event, switch

from orchestrator.engine.faust_leaving import LeaveGroup
from orchestrator.kafka.groups import committed

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
def lab(broker, registry, prefix, tmp_path) -> Iterator[Lab]:
    lab = Lab(broker, registry, prefix, tmp_path)
    yield lab
    lab.kill_all()


def batch(seed: int, count: int, keys: int = 40, poison: bool = True) -> list:
    rnd = random.Random(seed)
    kinds = ["toy.seen"] * 30 + ["toy.armed"] + (["toy.poisoned", "toy.wrecked"] if poison else [])
    return [
        event(rnd.choice(kinds), seed * 1_000_000 + n, customer=f"c{rnd.randrange(keys)}")
        for n in range(count)
    ]


def test_events_become_decisions(lab):
    """Through both stages: forwarded untouched, applied in order, timers by ticks, poison aside."""
    lab.send(batch(1, 1_500))
    with lab.worker():
        lab.wait_ready()
        lab.switch(switch("one"))
        lab.wait_drained()
        lab.switch(switch("three"))
        lab.send(batch(2, 500))
        lab.wait_drained()
        state = lab.customer("c1")
        assert state["state"]["n"] > 0
        assert lab.get("/customers/nobody")[0] == 404
        assert lab.get("/livez") == (200, "ok\n")
        metrics = lab.get("/metrics")[1]
        assert 'orchestrator_inputs_total{kind="timers",stage="decide"}' in metrics
        assert 'orchestrator_dead_letters_total{cause="stage_error",role="decide"}' in metrics
    assert lab.check().total() > 500
    dead = [r for each in lab.read(lab.topology.name("dead-letters")).values() for r in each]
    original = [r for each in lab.read(lab.topology.name("events")).values() for r in each]
    poisoned = [r for r in dead if r.value]
    assert {r.value for r in poisoned} <= {r.value for r in original}
    assert dict(poisoned[0].headers)["__connect.errors.exception.message"] == b"poisoned"


def test_killed_in_the_middle(lab):
    """Killed with -9 while under load, restart, twice; once with an empty disk: nothing lost or doubled."""
    for round_ in range(3):
        process = lab.start()
        lab.wait_ready()
        before = lab.decisions().total()
        lab.send(batch(10 + round_, 3_000))
        lab.wait("some decisions", lambda before=before: lab.decisions().total() > before)
        lab.stop(process, signal.SIGKILL)
        if round_ == 1:
            shutil.rmtree(lab.folder / "state")
    with lab.worker():
        lab.wait_drained()
    lab.check()


def test_partitions_move_between_workers(lab):
    """A second worker joins under load and leaves again: both own partitions, all stays exact.

    Either answers for every customer, asking the owner; an orderly stop leaves the group at once.
    """
    names = [f"c{n}" for n in range(40)]
    with lab.worker(0):
        lab.wait_ready(0)
        lab.send(batch(20, 2_000))
        second = lab.start(1)
        lab.wait_ready(1)
        lab.send(batch(21, 2_000))
        lab.wait(
            "both own partitions",
            lambda: lab.owned(names, 0) and lab.owned(names, 1),
        )
        for slot in (0, 1):
            lab.wait(
                "all are answered for",
                lambda slot=slot: {lab.get(f"/customers/{c}", slot)[0] for c in names} == {200},
            )
        assert lab.members() == 2
        lab.stop(second)
        assert lab.members() == 1
        lab.send(batch(22, 1_000))
        lab.wait_drained()
    lab.check()


def told_and_done(lab) -> tuple[dict, dict]:
    """Return what the group has committed and what the changelogs say, by topic and partition."""
    told, done = {}, {}
    for topic, table in (("events", "identities"), ("timeline", "customers")):
        for number, (_, meta) in lab.changelog(table).items():
            offset = committed(lab.settings, lab.settings.app.id, lab.topology.name(topic), number)
            told[topic, number] = max(offset, 0)
            done[topic, number] = meta.position
    return told, done


@pytest.mark.parametrize("gap_s", [0.0, 0.5])
def test_workers_that_stop_together_tell_how_far_they_came(lab, gap_s):
    """The later one stops in the rebalance that the former one causes; both leave at once.

    The group's offsets are all that is left of it if a changelog is lost while nobody runs.
    """
    first, second = lab.start(0), lab.start(1)
    lab.wait_ready(0)
    lab.wait_ready(1)
    lab.send(batch(25, 3_000))
    lab.wait("some decisions", lambda: lab.decisions().total() > 0)
    lab.may_end(first)
    first.send_signal(signal.SIGTERM)
    time.sleep(gap_s)  # where in the rebalance the second stop falls
    assert (lab.stop(second), first.wait(30)) == (0, 0)
    assert lab.members() == 0
    told, done = told_and_done(lab)
    assert told == done


async def put_out(lab, instance: str) -> None:
    """Take a member out of the group, as an administrator does."""
    client = AIOKafkaClient(bootstrap_servers=lab.settings.kafka["bootstrap.servers"])
    await client.bootstrap()
    try:
        group = lab.settings.app.id
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.ready(coordinator)
        answer = await client.send(coordinator, LeaveGroup(group, "", instance))
        assert not answer.error_code
        assert [member[-1] for member in answer.members] == [0]
    finally:
        await client.close()


async def test_a_worker_that_the_group_has_forgotten_tells_it_when_it_stops(lab):
    """It joins once more for this: until then its commit is refused, as in any rebalance."""
    worker = lab.start(0)
    lab.wait_ready(0)
    lab.send(batch(26, 3_000))
    lab.wait("some decisions", lambda: lab.decisions().total() > 0)
    await put_out(lab, lab.instances()[0])
    assert lab.stop(worker) == 0
    told, done = told_and_done(lab)
    assert told == done
    assert lab.members() == 0


def test_told_time(broker, registry, prefix, tmp_path):
    """Clock mode log: only the driver ticks; outputs carry the log time of their cause."""
    lab = Lab(broker, registry, prefix, tmp_path, ORCHESTRATOR_CLOCK__MODE="log")
    year = 1_500_000_000_000
    rnd = random.Random(5)
    steps, at = [], year
    for number in range(400):
        at += rnd.choice([0, 10, 86_400_000])
        steps.append((at, event("toy.seen", number, customer=f"c{rnd.randrange(9)}")))
    with lab.worker():
        lab.wait_ready()
        lab.drive([*steps, (at + 10, None), (at + 3 * 86_400_000, None)])
        lab.wait_drained()
    lab.check()
    (timeline,) = lab.read(lab.topology.name("timeline")).values()
    assert [r.timestamp for r in timeline if r.key is None] == [at + 10, at + 3 * 86_400_000]
    assert [r.timestamp for r in timeline if r.key is not None] == [when for when, _ in steps]
    for records in lab.read(lab.topology.name("decisions")).values():
        for record in records:
            assert record.timestamp == lab.codec.decode(record.value).decided_at


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["produced", "flushed", "committed"])
def test_frozen_inside_the_commit(lab, point):
    """A worker frozen beyond the session in the middle of a commit is fenced, not believed.

    When it wakes it rejoins, or its watchdog ends it for a supervisor to start again: both are
    right, and what was decided is the same.
    """
    frozen = lab.start(0, TOY_FREEZE=f"{point}:6")
    lab.send(batch(30, 2_000))
    lab.wait("frozen", lambda: _stopped(frozen.pid))
    lab.may_end(frozen)
    with lab.worker(1):
        lab.wait_drained()
        lab.send(batch(31, 500))
        frozen.send_signal(signal.SIGCONT)
        lab.send(batch(32, 500))
        lab.wait_drained()
        lab.stop(frozen)
        lab.wait_drained()
    lab.check()


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
