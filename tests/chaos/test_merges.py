"""Merges through real Kafka while two workers die in the middle of them: the same customers."""

from __future__ import annotations

import os
import random
import sys
from itertools import cycle
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kafka"))

from confluent_kafka import Producer
from engine_lab import Lab

from orchestrator.engine import meta as metas
from orchestrator.identities import Owner, strongest_first
from orchestrator.kafka.clients import producer_config
from orchestrator.records import CatalogSwitch, Event, Merge
from orchestrator.stages.decide import state as customers
from orchestrator.stages.identify import state as identities
from orchestrator.stages.identify.state import row_key

HERE = Path(__file__).parent
pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(600)]

GROUPS = 40
KILLS = int(os.environ.get("MERGE_KILLS", "3"))
"""By hand: MERGE_KILLS=6 pytest tests/chaos/test_merges.py."""
DEADLY = ("committed", "replayed", "flushed", "begun", "produced", "stored")
"""Behind and inside a transaction, in the middle of a recovery, before, and after it is on disk."""


def story(rnd: random.Random) -> list[dict[str, str]]:
    """Return who was seen together: chains of devices and addresses, some of them with a login."""
    told = []
    for group in range(GROUPS):
        devices = [f"x{group}-{n}" for n in range(rnd.randrange(1, 5))]
        emails = [f"e{group}-{n}" for n in range(rnd.randrange(1, 4))]
        told += [{"anonymous_id": one} for one in devices for _ in range(2)]
        told += [{"email": one} for one in emails]
        told += [{"email": e, "anonymous_id": x} for e in emails for x in rnd.sample(devices, 1)]
        told += [{"email": emails[0], "anonymous_id": one} for one in devices]
        if group % 2:
            told += [{"id": f"c{group}", "email": rnd.choice(emails)}]
            told += [{"id": f"c{group}", "anonymous_id": rnd.choice(devices)}]
    rnd.shuffle(told)
    return told


def groups(told: list[dict[str, str]]) -> list[set[str]]:
    found: list[set[str]] = []
    for known in told:
        keys = {f"{kind}:{value}" for kind, value in known.items()}
        touched = [one for one in found if one & keys]
        found = [one for one in found if not one & keys]
        found.append(keys.union(*touched))
    return found


class Deployment(Lab):
    """Two mortal workers; whoever dies is started again, as a supervisor does."""

    def __init__(self, broker, registry, prefix: str, folder: Path) -> None:
        super().__init__(broker, registry, prefix, folder, 4, ORCHESTRATOR_APP__ID=prefix)
        self.script = HERE / "merge_worker.py"
        self._env["PYTHONPATH"] = f"{HERE.parents[1]}:{HERE}:{HERE.parent / 'engine'}"
        self.workers = {}
        self.deaths = 0

    def arm(self, slot: int) -> Path:
        return self.folder / f"arm-{slot}"

    def launch(self, slot: int) -> None:
        path = self._env["PYTHONPATH"]
        self.workers[slot] = self.start(slot, CHAOS_ARM=str(self.arm(slot)), PYTHONPATH=path)
        self.may_end(self.workers[slot])

    def supervise(self) -> None:
        for slot, process in list(self.workers.items()):
            if process.poll() is not None:
                self.deaths += 1
                self.launch(slot)

    def tell(self, told: list[tuple[int, dict[str, str]]]) -> None:
        topic, producer = self.topology.name("events"), Producer(producer_config(self.settings))
        for number, known in told:
            event = Event(
                event_id=f"e{number}",
                type="page.viewed",
                occurred_at=1,
                identities=known,
                source="s",
            )
            key = strongest_first(known, "id", ("email", "anonymous_id"))[0].key
            producer.produce(topic, self.codec.encode(event, topic), key.encode())
        assert producer.flush(60) == 0

    def quiet(self) -> bool:
        """Whether both stages have consumed all that is there; read before what they may add."""
        self.supervise()
        heads = {
            source: {p: meta.position for p, (_, meta) in self.changelog(table).items()}
            for table, source in (("identities", "events"), ("customers", "timeline"))
        }
        return all(
            heads[source][partition] > records[-1].offset
            for source in heads
            for partition, records in self.read(self.topology.name(source)).items()
            if records
        )

    def rows(self, table: str, decode) -> dict:
        return {
            key.decode(): decode(value[8:])
            for states, _ in self.changelog(table).values()
            for key, value in states.items()
        }


def test_customers_are_the_same_whoever_dies_in_the_middle(broker, registry, prefix, tmp_path):
    """Kills at drawn points, recoveries included: nobody is lost, split, doubled or counted twice."""
    rnd = random.Random(7)
    told = list(enumerate(story(rnd)))
    lab = Deployment(broker, registry, prefix, tmp_path)
    lab.switch(CatalogSwitch(catalog="k", definitions={}, status={}))
    try:
        for slot in (0, 1):
            lab.launch(slot)
        lab.wait("ready", lambda: all(lab.get("/readyz", slot)[0] == 200 for slot in (0, 1)))
        size = len(told) // KILLS + 1
        for burst, point in zip(range(KILLS), cycle(DEADLY), strict=False):
            before, slot = lab.deaths, burst % 2
            if point == "replayed":  # a recovery must begin for it, and not be over before
                lab.workers[slot].kill()
                lab.workers[slot].wait()
                before += 1
            lab.arm(slot).write_text(f"{point}:{rnd.randrange(1, 3)}:KILL")
            lab.tell(told[burst * size : (burst + 1) * size])
            lab.wait(f"death at {point}", lambda b=before: lab.supervise() or lab.deaths > b)
        lab.wait("everything is applied", lab.quiet)
        assert lab.deaths >= KILLS
    finally:
        lab.kill_all()
    check(lab, [known for _, known in told])


def check(lab: Deployment, told: list[dict[str, str]]) -> None:
    rows = lab.rows("identities", identities.decode)
    states = lab.rows("customers", customers.decode)

    def leads_to(name: str) -> str:
        while states[name].redirect:
            name = states[name].redirect
        return name

    wanted = {}
    for group in groups(told):
        made = [rows[row_key(lab.settings.app.id, identity)] for identity in group]
        owners = {Owner(row.customer_id, row.first_seen) for row in made}
        survivor = min(owners, key=lambda one: one.rank).customer_id
        assert {leads_to(owner.customer_id) for owner in owners} == {survivor}
        wanted[survivor] = sum(
            not group.isdisjoint(f"{k}:{v}" for k, v in known.items()) for known in told
        )
    counted = {
        name: state.profile.traits["seen"].value
        for name, state in states.items()
        if not state.redirect and "seen" in state.profile.traits
    }
    assert counted == wanted
    assert lab.dead() == 0
    merges = [
        one
        for records in lab.read(lab.topology.name("timeline")).values()
        for record in records
        if record.value and record.key != b"catalog"
        if isinstance(one := lab.codec.decode(record.value), Merge)
    ]
    assert len(merges) >= GROUPS, "there was something to go wrong"
    for records in lab.read(lab.topology.changelog("customers")).values():
        seqs = [metas.decode(r.value).seq for r in records if r.key == metas.META_KEY]
        assert seqs == sorted(set(seqs))
