"""The worker verb and the host: faults of the broker, stalls, signals; exit codes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from confluent_kafka import Producer
from engine_lab import Lab
from toys import ToyStage, event

from orchestrator.kafka.clients import producer_config
from orchestrator.records import Skip
from orchestrator.testing.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def events(start: int, count: int) -> list:
    return [event("toy.seen", start + n, customer=f"c{n % 20}") for n in range(count)]


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_broker_that_goes_and_comes_back(registry, prefix, tmp_path, how):
    """The worker waits out an outage, or ends with a code and is started again: exact either way."""
    with Broker() as own:
        lab = Lab(own, registry, prefix, tmp_path)
        process = lab.start()
        lab.wait_ready()
        lab.send(events(0, 1_000))
        if how == "restart":
            own.restart()
        else:
            own.kill()
            own.start()
        lab.send(events(10_000, 500))
        if process.poll() is not None:  # as a supervisor does
            assert process.returncode == 70
            lab.stop(process)
            process = lab.start()
        lab.wait_drained()
        lab.stop(process)
        lab.check()


def test_sigterm_ends_with_zero_and_sigusr2_opens_no_debugger(broker, registry, prefix, tmp_path):
    """What was read is committed on the way out; the next start goes on from there."""
    lab = Lab(broker, registry, prefix, tmp_path)
    process = lab.start()
    lab.wait_ready()
    lab.send(events(0, 200))
    process.send_signal(signal.SIGUSR2)
    lab.wait_drained()
    assert lab.get("/livez")[0] == 200
    assert lab.stop(process) == 0
    metas = [meta for _, meta in lab.changelog("customers").values()]
    with lab.worker():
        lab.wait_ready()
    after = [meta for _, meta in lab.changelog("customers").values()]
    assert [m.position for m in after] == [m.position for m in metas], "nothing was applied again"
    lab.check()


@pytest.mark.chaos
def test_a_blocked_loop_ends_the_process(broker, registry, prefix, tmp_path):
    """Heartbeats go on in another thread, so nobody would take over: the watchdog thread exits."""
    lab = Lab(broker, registry, prefix, tmp_path)
    process = lab.start(TOY_BLOCK="1")
    lab.wait_ready()
    lab.send(events(0, 10))
    assert process.wait(90) == 70
    lab.stop(process)
    assert "event loop has not turned" in lab.log()
    with lab.worker():
        lab.wait_drained()
    lab.check()


@pytest.mark.chaos
def test_a_record_that_kills_its_worker_is_held_until_an_order_to_skip_it(
    broker, registry, prefix, tmp_path
):
    """Three deaths at one record: the partition waits and says where; the others go on."""
    lab = Lab(broker, registry, prefix, tmp_path)
    lab.send([*events(0, 40), event("toy.deadly", 900, customer="c7"), *events(100, 40)])
    for _ in range(3):
        process = lab.start(TOY_DEADLY="1")
        assert process.wait(90) == -signal.SIGKILL
        lab.stop(process)
    with lab.worker(TOY_DEADLY="1"):
        lab.wait("held", lambda: "offset" in lab.get("/readyz")[1])
        timeline = lab.topology.name("timeline")
        (partition, offset), *others = [
            (partition, record.offset)
            for partition, records in lab.read(timeline).items()
            for record in records
            if record.value and b"toy.deadly" in record.value
        ]
        assert not others
        assert f"{timeline} [{partition}] offset {offset}" in lab.get("/readyz")[1]
        assert not lab.drained()
        order = Skip(partition=partition, offset=offset, reason="it kills")
        producer = Producer(producer_config(lab.settings))
        producer.produce(timeline, lab.codec.encode(order, timeline), b"", partition)
        assert producer.flush(30) == 0
        lab.sent += 1  # the order lies on the timeline, too
        lab.wait_drained()
    (dead,) = [r for each in lab.read(lab.topology.name("dead-letters")).values() for r in each]
    assert dict(dead.headers)["__connect.errors.cause"] == b"skipped"
    assert b"toy.deadly" in dead.value
    assert sum(state.n for state in _states(lab)) >= 80


def _states(lab: Lab) -> list:
    stage = ToyStage()
    return [
        stage.decode(value[8:])
        for states, _ in lab.changelog("customers").values()
        for value in states.values()
    ]
