"""`state check | reset | skip` on a running deployment: damage is named, and mended without a second send."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from orchestrator.engine import meta as metas
from orchestrator.engine.marks import DEATHS, Marks
from orchestrator.engine.ports import TaskId
from orchestrator.kafka.clients import admin_config, producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.testing.stack import Stack
from tests.kafka.calling import call
from tests.kafka.test_replay_verify import overlay as overlay  # noqa: PLC0414 - a fixture
from tests.kafka.test_replay_verify import people, records, sound, wait_sent

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
PATIENCE_S = 60.0


@pytest.fixture
def stack(broker, overlay, prefix):
    """Forty customers, each with one message sent; waits of a second."""
    with Stack(EXAMPLE, overlay, broker=broker, prefix=prefix) as stack:
        stack.start("worker")
        stack.start("collect")
        stack.wait_ready("worker", f"{stack.worker_url}/readyz")
        stack.wait_ready("collect", f"{stack.collector_url}/healthz")
        people(stack, 0, 40)
        wait_sent(stack, 40)
        yield stack


def state(stack: Stack, *words: str, code: int = 0) -> dict:
    got, out, err = call(stack, "state", *words, "--output", "json")
    assert got == code, (out, err)
    return json.loads(out or err.splitlines()[-1])  # log lines may come before it


def findings(stack: Stack, *words: str) -> dict[tuple[str, int], str]:
    got, out, err = call(stack, "state", "check", *words, "--output", "json")
    rows = json.loads(out)["partitions"]
    found = {
        (row["stage"], row["partition"]): " ".join(one["what"] for one in row["problems"])
        for row in rows
        if row["problems"]
    }
    assert got == (1 if found else 0), err
    return found


def produce(stack: Stack, topic: str, partition: int, *records: tuple[bytes, bytes | None]) -> None:
    producer = Producer(producer_config(stack.settings))
    for key, value in records:
        producer.produce(topic, value, key, partition)
    assert producer.flush(30) == 0


def newest(stack: Stack, topic: str, partition: int) -> dict[bytes, bytes | None]:
    return {m.key(): m.value() for m in read_partition(stack.settings, topic, partition)}


def restart_and_verify(stack: Stack, first: int) -> None:
    """The worker takes it, goes on where it stood, and the log explains everything, once."""
    stack.start("worker")
    stack.wait_ready("worker", f"{stack.worker_url}/readyz")
    people(stack, first, 10)
    wait_sent(stack, first + 10)
    sound(stack)
    assert findings(stack) == {}


def test_damage_is_named_and_mended(stack):
    """A changed state, a lost state, a state too many, a sequence that does not rise; then a whole topic."""
    checked = state(stack, "check")["partitions"]
    assert sum(row["states"] for row in checked if row["stage"] == "decide") >= 40
    assert all(row["rebuildable"] for row in checked)
    refused = state(stack, "reset", "--stage", "decide", "--all", "--yes", code=3)
    assert "owns it" in refused["error"]["message"]
    assert "is open in a worker" in refused["error"]["message"]
    data = str(stack.home / "state")
    local = state(stack, "check", "--data-dir", data)["partitions"]
    assert {copy["in_use"] for row in local for copy in row["local"]} == {True}
    assert stack.stop("worker") == 0
    local = state(stack, "check", "--data-dir", data)["partitions"]
    assert {copy["in_use"] for row in local for copy in row["local"]} == {False}

    topic = Topology(stack.settings).changelog("customers")
    kept = newest(stack, topic, 1)
    meta = metas.decode(kept.pop(metas.META_KEY))
    one, other, *_ = kept
    meta.seq += 1
    produce(
        stack,
        topic,
        1,
        (one, None),
        (other, bytes(8) + b"wrong"),
        (b"ghost", bytes(8) + b"x"),
        (metas.META_KEY, metas.encode(meta)),
    )
    former = newest(stack, topic, 2)[metas.META_KEY]
    produce(stack, topic, 2, (metas.META_KEY, former))
    found = findings(stack)
    assert found.keys() == {("decide", 1), ("decide", 2)}
    assert "digest" in found["decide", 1]
    assert "sequence" in found["decide", 2]

    planned = state(stack, "reset", "--stage", "decide", "--partition", "1")
    assert planned["done"] is False
    assert findings(stack).keys() == found.keys()
    done = state(stack, "reset", "--stage", "decide", "--all", "--yes")
    rebuilt = {plan["partition"]: plan["rebuilt"] for plan in done["partitions"]}
    assert (rebuilt[1]["written"], rebuilt[1]["removed"]) == (2, 1)
    assert (rebuilt[2]["written"], rebuilt[2]["removed"]) == (0, 0)
    assert all(rebuilt[p]["exact"] for p in rebuilt.keys() - {1, 2})
    assert done["local"]
    assert findings(stack) == {}
    restart_and_verify(stack, 40)

    # The whole changelog is gone: what the group has committed says how far it had come.
    assert stack.stop("worker") == 0
    admin = AdminClient(admin_config(stack.settings))
    admin.delete_topics([topic])[topic].result(30)
    wait(lambda: topic not in admin.list_topics(timeout=10).topics)
    stack.run("topics", "apply")
    done = state(stack, "reset", "--stage", "decide", "--all", "--yes")
    assert sum(plan["rebuilt"]["written"] for plan in done["partitions"]) >= 50
    restart_and_verify(stack, 50)


def test_from_a_cut(stack):
    """The log's first records are gone: a cut and the log since give the same states."""
    topology = Topology(stack.settings)
    changelog, timeline = topology.changelog("customers"), topology.name("timeline")
    folder = str(stack.home / "cuts")
    cuts = state(stack, "export", folder, "--stage", "decide")["cuts"]
    assert sum(cut["states"] for cut in cuts) >= 40
    people(stack, 40, 10)
    wait_sent(stack, 50)
    assert stack.stop("worker") == 0
    before = {cut["partition"]: newest(stack, changelog, cut["partition"]) for cut in cuts}
    admin = AdminClient(admin_config(stack.settings))
    ends = [TopicPartition(timeline, cut["partition"], cut["position"]) for cut in cuts]
    for done in admin.delete_records(ends).values():
        done.result(30)
    produce(stack, changelog, 1, (b"ghost", bytes(8) + b"x"))
    assert findings(stack, "--stage", "decide").keys() == {("decide", 1)}
    whole = ("reset", "--stage", "decide", "--all", "--yes")
    refused = state(stack, *whole, code=3)["error"]["message"]
    assert "Give --from a `state export`" in refused
    state(stack, *whole, "--from", folder)
    for partition, states in before.items():
        after = newest(stack, changelog, partition)
        for kept in (states, after):
            del kept[metas.META_KEY]
        assert {k: v for k, v in after.items() if v} == {k: v for k, v in states.items() if v}
    assert findings(stack) == {}
    stack.start("worker")
    stack.wait_ready("worker", f"{stack.worker_url}/readyz")
    people(stack, 50, 5)
    wait_sent(stack, 55)
    decided = Counter(one.decision_id for one in records(stack, "decisions"))
    assert set(decided.values()) == {1}


def wait(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_held_partition_goes_on_by_the_very_command_of_its_alarm(stack):
    """Three deaths hold it; the printed command is run as it is; the record is a dead letter."""
    topology = Topology(stack.settings)
    assert stack.stop("worker") == 0
    topic = topology.name("events")
    before = offsets(stack, topic)
    people(stack, 100, 1)
    after = offsets(stack, topic)
    number = next(p for p in after if len(after[p]) > len(before[p]))
    lying = after[number][len(before[number]) :]
    marks = Marks(stack.home / "state" / "slot-0" / "marks")
    marks.path(TaskId("identify", number)).write_bytes(struct.pack("3q", 0, lying[0] + 1, DEATHS))
    stack.start("worker")
    log = stack.roles["worker"].log
    wait(lambda: "partition is held" in log.read_text())
    line = log.read_text().partition("`orchestrator state skip ")[2].partition("`")[0]
    assert line == f"{topic} {number} {lying[0]} --reason WHY"
    words = line.replace("WHY", "ticket-4711").split()
    ordered = state(stack, "skip", *words)
    assert ordered["order"] > lying[-1]
    stack.wait_ready("worker", f"{stack.worker_url}/readyz")
    wait(lambda: skipped(stack))  # ready is who goes on; what he passed over is committed later
    (letter,) = skipped(stack)
    assert (letter["offset"], letter["message"]) == (lying[0], "ticket-4711")
    sound(stack)
    # What a rebuild must know of, too.
    assert stack.stop("worker") == 0
    done = state(stack, "reset", "--stage", "identify", "--partition", str(number), "--yes")
    assert done["partitions"][0]["rebuilt"]["exact"] is True
    for wrong, says in (
        ((topic, "99", "0"), "no partition 99"),
        ((topic, str(number), "999999"), "nothing to pass over"),
        (("orders", "0", "0"), "no input of a stage"),
    ):
        said = state(stack, "skip", *wrong, "--reason", "x", code=2)
        assert says in said["error"]["message"]


def skipped(stack: Stack) -> list[dict]:
    code, out, err = call(stack, "dlq", "list", "--cause", "skipped", "--output", "json")
    assert code == 0, err
    return json.loads(out)["dead_letters"]


def offsets(stack: Stack, topic: str) -> dict[int, list[int]]:
    count = Topology(stack.settings).partitions("events")
    return {
        p: [message.offset() for message in read_partition(stack.settings, topic, p)]
        for p in range(count)
    }
