"""A rerun agrees with every checkpoint that a worker may take, and with no other state."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from test_simulated import CODEC, TASK, Driver, fill, tools
from toys import ToyStage, event

from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.engine import StageSpec
from orchestrator.engine.holding import Skips
from orchestrator.engine.meta import Meta, TransactionReader
from orchestrator.engine.ports import Output
from orchestrator.engine.rerun import Rerun
from orchestrator.engine.simulated import SimulatedStores, World
from orchestrator.engine.timers import entry as timer_entry

CONFIG = EngineConfig(max_inputs=50, cached_bytes=12_000, cached_timers=10)


def worked(seed: int, records: int = 250) -> World:
    """A log and what a worker made of it, through crashes and checkpoints anywhere."""
    rnd = random.Random(seed)
    world = World()
    fill(world, rnd, records, keys=12)
    driver = Driver(world, rnd, CONFIG)
    for _ in range(rnd.randrange(30, 200)):
        driver.offer()
        driver.turn()
        if rnd.random() < 0.4:
            driver.commit()
        if rnd.random() < 0.03:
            driver = Driver(world, rnd, CONFIG)
    return world


def rerun(outputs: list[Output]) -> Rerun:
    spec = StageSpec(ToyStage(), "timeline", 1)
    return Rerun(TASK, spec, tools(CONFIG), CONFIG, SimulatedStores(World()), 0, outputs.append)


def run_to(run: Rerun, world: World, meta: Meta) -> int | None:
    """Run on to a checkpoint; return the log time of the next record."""
    run.feed([r for r in world.log if run.position <= r.offset < meta.position], meta.position)
    following = world.log[meta.position :]
    return max(following[0].timestamp, run.log_time) if following else None


def checkpoints(world: World) -> list[tuple[Meta, dict[bytes, bytes]]]:
    reader, states, found = TransactionReader(Meta()), {}, []
    for offset, key, value in world.changelog:
        whole = reader.feed(offset, key, value)
        if whole is not None:
            states |= whole[0]
            found.append((whole[1], dict(states)))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_every_checkpoint_is_reached_byte_for_byte(seed):
    """In the middle of a firing, in the middle of a sweep, after crashes: no false alarm."""
    world = worked(seed)
    outputs: list[Output] = []
    run = rerun(outputs)
    for meta, states in checkpoints(world):
        limit = run_to(run, world, meta)
        assert list(run.settle(states, limit)) == []
        assert run.log_time == meta.log_time
    assert Counter(map(plain, outputs)) == Counter(map(plain, world.outputs))


def plain(output: Output) -> tuple:
    return output.topic, output.key, output.value, tuple(output.headers)


@pytest.mark.parametrize("seed", range(40, 60))
def test_only_the_last_checkpoint_compared_gives_the_same_outputs(seed):
    """Nothing depends on comparing in between: a whole life may be run in one go."""
    world = worked(seed)
    meta, states = checkpoints(world)[-1]
    outputs: list[Output] = []
    run = rerun(outputs)
    assert list(run.settle(states, run_to(run, world, meta))) == []
    assert Counter(map(plain, outputs)) == Counter(map(plain, world.outputs))


@pytest.mark.parametrize("seed", range(60, 70))
def test_a_changed_a_lost_and_an_invented_state_are_found(seed):
    world = worked(seed)
    meta, states = checkpoints(world)[-1]
    rnd = random.Random(seed)
    changed, lost = rnd.sample(sorted(states), 2)
    state = ToyStage().decode(states[changed][8:])
    state.check ^= 1
    states[changed] = states[changed][:8] + ToyStage().encode(state)
    del states[lost]
    states[b"ghost"] = states[changed]
    run = rerun([])
    found = {one.key: one for one in run.settle(states, run_to(run, world, meta))}
    assert set(found) == {changed.decode(), lost.decode(), "ghost"}
    assert found[lost.decode()].found is None
    assert found["ghost"].expected is None


def test_a_record_left_out_of_the_log_is_found():
    """The state cannot be explained by a log that lacks one event."""
    world = worked(7)
    meta, states = checkpoints(world)[-1]
    events = [r for r in world.log[: meta.position] if r.value and r.key and b"toy.seen" in r.value]
    world.log[events[3].offset] = type(events[3])(events[3].offset, events[3].timestamp, None, None)
    run = rerun([])
    assert list(run.settle(states, run_to(run, world, meta)))
    assert metas.META_KEY not in states


def test_what_an_operator_passed_over_is_passed_over_again():
    """Record and timer become dead letters with his reason, and change nothing else."""
    world = World()
    for number in range(4):
        world.append(1_000 + number, b"c1", CODEC.encode(event("toy.seen", number), ""))
    world.append(1_010, b"t", CODEC.encode(event("toy.armed", 9, 1_020, "t"), ""))
    world.append(1_030)
    outputs: list[Output] = []
    spec = StageSpec(ToyStage(), "timeline", 1)
    skips = Skips(
        {1: "kills the worker", 2: "this one, too"}, {timer_entry(1_020, b"t"): "so does its timer"}
    )
    run = Rerun(
        TASK, spec, tools(CONFIG), CONFIG, SimulatedStores(World()), 0, outputs.append, skips
    )
    run.feed(world.log, 6)
    dead = [dict(one.headers) for one in outputs if one.topic == "toy.dead-letters"]
    assert [one["__connect.errors.offset"] for one in dead] == [b"1", b"2", b"-1"]
    assert [one["__connect.errors.exception.message"] for one in dead] == [
        reason.encode() for reason in (*skips.records.values(), *skips.timers.values())
    ]
    assert run.position == 6
