# ruff: noqa: ARG002 - fakes fulfil protocols whose arguments they do not need
"""One input counts completely or not at all: stage errors, sizes, blocks, catalogs, dead letters."""

from __future__ import annotations

import pytest
from toys import Forwarder, PlainCodec, PlainEnvelope, ToyStage, event, names, resolve, switch

from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.deadletters import DeadLetterGuard
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Chunk, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.replay import open_partition
from orchestrator.engine.simulated import SimulatedChangelog, SimulatedStores, World
from orchestrator.engine.slots import build_core
from orchestrator.engine.states import Room
from orchestrator.errors import (
    DecodeError,
    DefinitionMissing,
    RegistryUnavailable,
    SchemaNotLoaded,
)
from orchestrator.records import Skip

CODEC = PlainCodec()


class Bench:
    """One task over a world, driven by hand."""

    def __init__(self, stage=None, codec=CODEC, find=resolve) -> None:
        stage = stage or ToyStage()
        self.world = World()
        self.task = TaskId(stage.name, 0)
        envelope = PlainEnvelope()
        tools = Tools(
            decoder=Decoder(codec),
            encoder=OutputEncoder(codec, envelope, names, 1_000_000),
            envelope=envelope,
            book=CatalogBook(find),
            max_state=256 * 1024,
            room=Room(60_000),
        )
        opened = open_partition(
            self.task, SimulatedChangelog(self.world), SimulatedStores(self.world), lambda: False
        )
        self.core = build_core(self.task, stage, stage.source, 1, opened, tools, EngineConfig())
        self.states = self.core.processor.states

    def append(self, now: int, record, key: bytes = b"c", headers=()) -> None:
        value = record if isinstance(record, bytes) else CODEC.encode(record, "")
        self.world.append(now, key, value, headers)

    def run(self) -> None:
        log, at = self.world.log, self.core.position
        self.core.forget_queue()
        self.core.offer(Chunk("t", 0, at, len(log), log[at:]), 0.0)
        while self.core.ready and self.core.step(50, 0.0):
            pass

    def run_on(self) -> None:
        """Run, and end every wait at once."""
        self.run()
        while self.core.blocked is not None:
            self.core.blocked.remedy()
            self.core.blocked = None
            self.run()

    @property
    def dead(self) -> list[dict[str, bytes]]:
        found = [o for o in self.core.processor.outputs if o.topic == "toy.dead-letters"]
        return [
            {name.removeprefix("__connect.errors."): value for name, value in output.headers}
            | {"key": output.key, "value": output.value}
            for output in found
        ]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("toy.poisoned", b"stage_error"),
        ("toy.refused", b"refused"),
        ("toy.fat", b"state_oversize"),
        ("toy.loud", b"oversize"),
    ],
)
def test_a_refused_input_leaves_the_state_as_it_was(kind, cause):
    """Also what the stage had changed in place before it failed; the rest goes on."""
    bench = Bench()
    bench.append(10, event("toy.seen", 1))
    bench.run()
    before = bench.states.value_of(bench.states.peek("c"))
    bench.append(11, event(kind, 2), headers=[("mine", b"kept")])
    bench.run()
    assert bench.states.value_of(bench.states.peek("c")) == before
    assert bench.dead[0]["cause"] == cause
    assert bench.dead[0]["mine"] == b"kept"
    assert bench.dead[0]["value"] == bench.world.log[1].value
    assert bench.dead[0]["offset"] == b"1"
    bench.append(12, event("toy.seen", 3))
    bench.run()
    assert bench.states.peek("c").n == 2


def test_a_key_whose_first_input_failed_was_never_seen():
    """No state comes into being by an error."""
    bench = Bench()
    bench.append(10, event("toy.poisoned", 1))
    bench.run()
    assert bench.states.peek("c") is None
    assert not bench.states.dirty


def test_a_timer_that_raises_is_cleared_and_dead_lettered():
    """It must not fire for ever."""
    bench = Bench()
    bench.append(10, event("toy.wrecked", 1))
    bench.append(100, event("toy.seen", 2))
    bench.run()
    (dead,) = bench.dead
    assert (dead["orchestrator.doing"], dead["orchestrator.at"]) == (b"fire", b"20")
    assert (bench.states.peek("c").due, bench.states.peek("c").n) == (0, 2)


@pytest.mark.parametrize(
    ("value", "key", "cause"),
    [
        (b"\xff", b"c", b"undecodable"),
        (CODEC.encode(event("toy.seen"), ""), b"\xff\xfe", b"stage_error"),
        (CODEC.encode(event("toy.seen"), ""), b"\0meta", b"bad_key"),
        (CODEC.encode(event("toy.seen"), ""), None, b"no_key"),
        (None, b"c", b"tombstone"),
    ],
)
def test_what_is_no_input_is_a_dead_letter(value, key, cause):
    """Bytes, keys and tombstones that no stage may see."""
    bench = Bench()
    bench.world.append(10, key, value)
    bench.run()
    assert [dead["cause"] for dead in bench.dead] == [cause]
    assert bench.core.position == 1


def test_ticks_and_skips_pass():
    """They move time and position, nothing else."""
    bench = Bench()
    bench.world.append(10)
    bench.append(20, Skip(partition=0, offset=3, reason="asked"))
    bench.run()
    assert (bench.core.position, bench.core.log_time, bench.dead) == (2, 20, [])


def test_a_schema_that_is_away_blocks_and_then_the_same_record_is_applied():
    """Unavailable is not poison: nothing is changed until the registry answers."""

    class Away(PlainCodec):
        asked = 0
        loaded = False

        def decode(self, value):
            if not self.loaded:
                raise SchemaNotLoaded(7)
            return super().decode(value)

        def load(self, schema_id):
            self.asked += 1
            if self.asked < 2:
                raise RegistryUnavailable("down")
            self.loaded = True

    bench = Bench(codec=Away())
    bench.append(10, event("toy.seen", 1))
    bench.run()
    assert (bench.core.position, bench.dead) == (0, [])
    with pytest.raises(RegistryUnavailable):
        bench.core.blocked.remedy()
    bench.core.blocked.remedy()
    bench.core.blocked = None
    bench.run()
    assert bench.states.peek("c").n == 1


def test_an_unknown_schema_becomes_poison():
    """The registry answered: it does not know."""

    class Unknown(PlainCodec):
        unknown = False

        def decode(self, value):
            raise (
                DecodeError("no such id", "unknown_schema") if self.unknown else SchemaNotLoaded(7)
            )

        def load(self, schema_id):
            self.unknown = True
            raise DecodeError("no such id", "unknown_schema")

    bench = Bench(codec=Unknown())
    bench.append(10, event("toy.seen", 1))
    bench.run()
    bench.core.blocked.remedy()
    bench.core.blocked = None
    bench.run()
    assert bench.dead[0]["cause"] == b"unknown_schema"


def test_a_catalog_waits_for_its_definitions():
    """The partition stands in front of the record until they have arrived."""
    arrived = False

    def find(wanted):
        if not arrived:
            raise DefinitionMissing("not yet")
        return resolve(wanted)

    bench = Bench(find=find)
    bench.append(10, event("toy.seen", 1))
    bench.append(20, switch("new"), key=b"catalog")
    bench.append(30, event("toy.seen", 2))
    bench.run()
    assert bench.core.position == 1
    with pytest.raises(DefinitionMissing):
        bench.core.blocked.remedy()
    arrived = True
    bench.core.blocked.remedy()
    bench.core.blocked = None
    bench.run()
    assert bench.core.position == 3
    assert bench.states.peek("c").catalog == 1


def test_the_sweep_waits_until_the_store_holds_everyone():
    """A state that is not on disk yet would be missed."""
    bench = Bench()
    bench.append(10, event("toy.seen", 1))
    bench.append(20, switch("new"), key=b"catalog")
    bench.run_on()
    assert bench.core.sweep(10) == 0
    snapshot = bench.core.snapshot(0.0)
    bench.world.disk.write(snapshot.states, b"meta")
    bench.core.committed(snapshot)
    assert bench.core.sweep(10) == 1
    assert bench.states.peek("c").catalog == 1
    assert bench.core.processor.catalogs.sweep is None


def test_what_passes_through_keeps_bytes_and_headers():
    """A stage that does not sweep never hears of switches."""
    bench = Bench(Forwarder())
    bench.append(10, event("toy.seen", 1, customer="x"), headers=[("traceparent", b"t")])
    bench.append(20, switch("new"), key=b"catalog")
    bench.append(30, event("toy.seen", 2, customer="y"))
    bench.run_on()
    first, second = bench.core.processor.outputs
    assert (first.topic, first.key, first.timestamp) == ("toy.timeline", b"x", 10)
    assert (first.value, first.headers) == (bench.world.log[0].value, [("traceparent", b"t")])
    assert second.key == b"y"


def test_a_gap_is_refused_and_overlap_is_skipped():
    """Every chunk says where it begins; what was applied is not applied again."""
    bench = Bench()
    for number in range(4):
        bench.append(number, event("toy.seen", number))
    log = bench.world.log
    assert not bench.core.offer(Chunk("t", 0, 1, 2, log[1:2]), 0.0)
    assert bench.core.offer(Chunk("t", 0, 0, 2, log[0:2]), 0.0)
    assert bench.core.offer(Chunk("t", 0, 1, 4, log[1:4]), 0.0)
    bench.core.step(100, 0.0)
    assert (bench.core.position, bench.states.peek("c").n) == (4, 4)


def test_too_many_dead_letters_hold_the_stage():
    """At least so many and more than a share of the inputs, within a minute."""
    guard = DeadLetterGuard(minimum=10, share=0.2)
    assert not guard.note(0.0, inputs=100, dead=9)
    assert not guard.note(1.0, inputs=100, dead=1)
    assert guard.note(2.0, inputs=50, dead=45)
    assert not guard.note(100.0, inputs=10, dead=5), "a minute later that is forgotten"
