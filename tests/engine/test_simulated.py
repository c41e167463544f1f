"""The engine's core over a simulated log: whatever crashes when, the outcome is the naive truth's."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from toys import (
    PlainCodec,
    PlainEnvelope,
    ToyStage,
    Truth,
    event,
    names,
    resolve,
    said,
    switch,
)

from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.slots import Slot, build_core
from orchestrator.engine.states import Room

TASK = TaskId("decide", 0)
CODEC = PlainCodec()
END = 1 << 40


def tools(config: EngineConfig) -> Tools:
    envelope = PlainEnvelope()
    return Tools(
        decoder=Decoder(CODEC),
        encoder=OutputEncoder(CODEC, envelope, names, 1_000_000),
        envelope=envelope,
        book=CatalogBook(resolve),
        max_state=256 * 1024,
        room=Room(config.cached_bytes),
    )


def fill(world: World, rnd: random.Random, records: int, keys: int) -> None:
    """A log with everything: events, ticks, catalogs, poison, time that jumps back."""
    now = 1_000
    for number in range(records):
        now += rnd.choice([0, 0, 1, 7, 40, 400])
        stamp = now - rnd.choice([0, 0, 0, 5])
        key = f"c{rnd.randrange(keys)}"
        kind = rnd.choices(
            [
                "toy.seen",
                "toy.armed",
                "toy.poisoned",
                "toy.wrecked",
                "toy.refused",
                "toy.fat",
                "toy.loud",
                "tick",
                "catalog",
                "garbage",
            ],
            [60, 8, 3, 2, 2, 0.2, 0.2, 15, 1.5, 1],
        )[0]
        match kind:
            case "tick":
                world.append(stamp)
            case "catalog":
                name = "k" * rnd.randrange(1, 9)
                world.append(stamp, b"catalog", CODEC.encode(switch(name), ""))
            case "garbage":
                world.append(stamp, key.encode(), b"\xff\xff")
            case _:
                at = now + rnd.choice([0, 3, 500])
                world.append(stamp, key.encode(), CODEC.encode(event(kind, number, at), ""))
    world.append(now + 5_000)


class Driver:
    """One worker's task over the world; everything but the world is lost in a crash."""

    def __init__(self, world: World, rnd: random.Random, config: EngineConfig) -> None:
        self.world, self.rnd, self.config = world, rnd, config
        self.slot = Slot(TASK, SimulatedChangelog(world))
        opened = open_partition(TASK, self.slot.changelog, SimulatedStores(world), lambda: False)
        core = build_core(TASK, ToyStage(), "timeline", 1, opened, tools(config), config)
        self.slot.move_in(opened, core)
        self.core = core
        self.read = core.position

    def offer(self) -> None:
        log = self.world.log
        end = min(len(log), self.read + self.rnd.randrange(1, 60))
        if end > self.read:
            assert self.core.offer(Chunk("timeline", 0, self.read, end, log[self.read : end]), 0.0)
            self.read = end

    def unblock(self) -> None:
        if self.core.blocked is not None:
            self.core.blocked.remedy()
            self.core.blocked = None

    def turn(self) -> None:
        self.unblock()
        if self.core.ready:
            self.core.step(self.rnd.randrange(1, 40), 0.0)
        if not self.core.full:
            self.core.sweep(self.rnd.randrange(1, 4))

    def commit(self, *, lose_disk_write: bool = False) -> None:
        if not self.core.has_changes:
            return
        snapshot = self.core.snapshot(0.0)
        for _ in range(self.rnd.randrange(3)):  # input goes on meanwhile
            self.turn()
        if lose_disk_write:
            self.slot.changelog.commit(snapshot)
            return
        self.slot.write(snapshot)
        self.core.committed(snapshot)

    @property
    def done(self) -> bool:
        catalogs = self.core.processor.catalogs
        return (
            self.core.position == len(self.world.log)
            and not self.core.has_changes
            and catalogs.sweep is None
        )


def run(seed: int, *, crashes: bool, records: int = 300, keys: int = 7) -> World:
    rnd = random.Random(seed)
    world = World()
    fill(world, rnd, records, keys)
    config = EngineConfig(
        max_inputs=rnd.choice([1, 5, 50, 1_000]),
        cached_bytes=rnd.choice([1, 60_000]),
        decoded=rnd.choice([0, 2, 64]),
        cached_timers=rnd.choice([1, 3, 100]),
        timers_ahead_ms=rnd.choice([0, 50, 60_000]),
    )
    driver = Driver(world, rnd, config)
    for _ in range(100_000):
        if driver.done:
            return world
        match rnd.randrange(12):
            case 0 | 1 | 2:
                driver.commit()
            case 3 if crashes and rnd.random() < 0.3:
                match rnd.randrange(3):
                    case 0:
                        driver.commit(lose_disk_write=True)
                    case 1:
                        world.disk = None
                driver = Driver(world, rnd, config)
            case 4 | 5 | 6:
                driver.offer()
            case _:
                driver.turn()
    raise AssertionError("no end in sight")


def outcome(world: World) -> tuple[Counter, int, dict[str, bytes]]:
    decisions: Counter = Counter()
    dead = 0
    for output in world.outputs:
        if output.topic == "toy.dead-letters":
            dead += 1
        else:
            decisions[said(CODEC.decode(output.value))] += 1
    return decisions, dead, {key.decode(): value for key, value in world.disk.items()}


def check(world: World) -> None:
    truth = Truth(ToyStage(), CODEC).run(world.log)
    decisions, dead, states = outcome(world)
    assert decisions == truth.decisions
    assert dead == truth.dead.total()
    stage = ToyStage()
    assert states == {
        key: state.due.to_bytes(8, "big") + stage.encode(state)
        for key, state in truth.states.items()
    }
    changelog = {r.key: r.value for r in world.changelog if not r.key.startswith(b"\0")}
    assert changelog == {key.encode(): value for key, value in states.items()}
    assert sorted(world.disk.timers(b"")) == sorted(
        value[:8] + key.encode() for key, value in states.items() if any(value[:8])
    ), "the index holds exactly the timers that are armed"


@pytest.mark.parametrize("seed", range(20))
def test_undisturbed_run_is_the_naive_truth(seed):
    """Laziness, sweeps, eviction, portions and budgets change nothing of what is decided."""
    check(run(seed, crashes=False))


@pytest.mark.parametrize("seed", range(60))
def test_crashes_anywhere_change_nothing(seed):
    """Crashes between any two inputs, after a commit before the disk, and with a lost disk."""
    check(run(seed, crashes=True))
