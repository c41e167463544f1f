"""The changelog on a real broker: aborted, torn and hanging transactions, and a fenced owner."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent))

from engine_lab import Lab

from orchestrator.engine import meta as metas
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.meta import META_KEY, Meta
from orchestrator.engine.ports import Output, Snapshot, StateWrite, TaskId
from orchestrator.engine.replay import open_partition
from orchestrator.engine.store import Stores
from orchestrator.errors import ChangelogStuck, ChangelogTorn, FencedError
from orchestrator.kafka.clients import consumer_config, producer_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
TASK = TaskId("decide", 0)


class Bed:
    """One changelog partition with honest snapshots, opened as often as wanted."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.topic = lab.topology.changelog("customers")
        self.watermarks = Watermarks(consumer_config(lab.settings, "watermarks"))
        self.config = ChangelogConfig(
            producer=producer_config(lab.settings, **{"delivery.timeout.ms": 10_000}),
            consumer=consumer_config(lab.settings, "replay"),
            transaction_timeout=15.0,
            commit_timeout=10.0,
            stuck=2.0,
        )
        self.states: dict[bytes, bytes] = {}
        self.seq = 0

    def changelog(self) -> KafkaChangelog:
        return KafkaChangelog(
            self.config,
            self.watermarks,
            topic=self.topic,
            source=self.lab.topology.name("timeline"),
            partition=0,
            transactional_id=f"{self.lab.settings.app.id}-decide-0",
        )

    def snapshot(self, **states: int) -> Snapshot:
        self.seq += 1
        writes, checksum = [], 0
        for name, number in states.items():
            key, value = name.encode(), bytes(8) + b"%d" % number
            self.states[key] = value
            checksum = metas.add_to_checksum(checksum, metas.state_hash(key, value))
            writes.append(StateWrite(key, value, 0))
        digest = metas.add_to_digest(0, sum(metas.state_hash(*kv) for kv in self.states.items()))
        meta = Meta(seq=self.seq, count=len(writes), checksum=checksum, digest=digest)
        output = Output(self.lab.topology.name("decisions"), b"k", b"v", [("h", b"x")], 1_234)
        return Snapshot(writes, [output], meta)

    def stranger(self, records, *, end: str) -> Producer:
        """Somebody else writes into the partition, and commits, aborts or hangs."""
        producer = Producer(
            producer_config(
                self.lab.settings,
                **{
                    "transactional.id": f"{self.lab.settings.app.id}-stranger",
                    "delivery.timeout.ms": 10_000,
                },
            )
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        for key, value in records:
            producer.produce(self.topic, value, key, 0)
        assert producer.flush(30) == 0
        if end == "commit":
            producer.commit_transaction(30)
        elif end == "abort":
            producer.abort_transaction(30)
        return producer

    def open(self, folder: str):
        changelog = self.changelog()
        stores = Stores(self.lab.folder / folder)
        try:
            opened = open_partition(TASK, changelog, stores, lambda: False)
        finally:
            changelog.close()
        found = dict(opened.store.items())
        opened.store.close()
        return opened, found


@pytest.fixture
def bed(broker, registry, prefix, tmp_path):
    made = Bed(Lab(broker, registry, prefix, tmp_path, partitions=1))
    yield made
    made.watermarks.close()


def test_committed_is_found_and_aborted_is_not(bed):
    """Cold and warm; markers and aborted records at the end do not keep a replay from ending."""
    changelog = bed.changelog()
    changelog.fence(lambda: False)
    changelog.commit(bed.snapshot(a=1, b=1))
    end = changelog.commit(bed.snapshot(a=2))
    bed.stranger([(b"a", bytes(8) + b"wrong"), (META_KEY, b"wrong")], end="abort")
    opened, found = bed.open("cold")
    assert found == bed.states
    assert (opened.meta.seq, opened.meta.changelog_offset, opened.meta.verified) == (2, end, True)
    again, found = bed.open("cold")
    assert (again.meta.seq, again.replayed, found) == (2, 0, bed.states)
    outputs = bed.lab.read(bed.lab.topology.name("decisions"))
    assert sorted(r.headers for each in outputs.values() for r in each) == [(("h", b"x"),)] * 2


def test_the_former_owner_is_fenced(bed):
    """After a second owner's fence the first can commit nothing, and what was open is aborted."""
    first, second = bed.changelog(), bed.changelog()
    first.fence(lambda: False)
    first.commit(bed.snapshot(a=1))
    before = dict(bed.states)
    second.fence(lambda: False)
    with pytest.raises(FencedError):
        first.commit(bed.snapshot(a=2))
    first.close()
    second.close()
    assert bed.open("cold")[1] == before


def test_half_a_transaction_is_torn(bed):
    """Records without their meta became visible: refuse."""
    changelog = bed.changelog()
    changelog.fence(lambda: False)
    changelog.commit(bed.snapshot(a=1))
    changelog.close()
    bed.stranger([(b"a", bytes(8) + b"late")], end="commit")
    with pytest.raises(ChangelogTorn, match="after the last meta record"):
        bed.open("cold")


def test_a_hanging_transaction_is_named(bed):
    """The end cannot be seen: wait for a while, then say so instead of standing still."""
    changelog = bed.changelog()
    changelog.fence(lambda: False)
    changelog.commit(bed.snapshot(a=1))
    changelog.close()
    hanging = bed.stranger([(b"a", bytes(8) + b"open")], end="hang")
    with pytest.raises(ChangelogStuck, match="open transaction"):
        bed.open("cold")
    hanging.abort_transaction(30)
    bed.config = replace(bed.config, stuck=60.0)
    assert bed.open("cold")[1] == bed.states
