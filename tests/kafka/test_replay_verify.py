"""``replay --verify`` on running deployments: silent when all is right, loud about what is not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Producer

from orchestrator.codec import open_codec
from orchestrator.engine import meta as metas
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Action, Decision, Event
from orchestrator.testing.stack import SERVER_KEY, Stack
from orchestrator.testing.tracking import Tracking, iso
from tests.kafka.calling import call

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
PATIENCE_S = 60.0


@pytest.fixture
def overlay(tmp_path) -> Path:
    """No quiet hours, and waits of a second: everything happens within the test."""
    folder = tmp_path / "overlay"
    (folder / "journeys").mkdir(parents=True)
    policy = yaml.safe_load((EXAMPLE / "policy.yaml").read_text(encoding="utf-8"))
    for key in ("quiet_hours", "caps", "gap"):
        del policy[key]
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    text = (EXAMPLE / "journeys" / "trial-to-paid.yaml").read_text(encoding="utf-8")
    text = text.replace("timeout: P2D", "timeout: PT1S").replace("{for: P1D}", "{for: PT1S}")
    (folder / "journeys" / "trial-to-paid.yaml").write_text(text, encoding="utf-8")
    return folder


def verify(stack: Stack) -> tuple[int, dict]:
    code, out, err = call(stack, "replay", "--verify", "--output", "json")
    assert code in {0, 1}, err
    return code, json.loads(out)


def sound(stack: Stack) -> dict[str, dict]:
    """Verify; whatever differs is the failure's text. Return the findings by stage."""
    code, result = verify(stack)
    stages = {one["stage"]: one for one in result["stages"]}
    assert (code, [one["samples"] for one in stages.values()]) == (0, [[], []])
    return stages


def people(stack: Stack, first: int, count: int, at: int | None = None) -> None:
    """Customers who are anonymous first and known later, with consent, on trial."""
    tracking, messages = Tracking(stack), []
    for number in range(first, first + count):
        when = {"timestamp": iso(at + number)} if at is not None else {}
        known = {"userId": f"acme-{number}", "anonymousId": f"a-{number}", **when}
        traits = {
            "name": f"N{number}",
            "email": f"n{number}@example.com",
            "country": "DE" if number % 3 else "US",
        }
        consent = {"channel": "email", "category": "education"}
        for body in (
            {"type": "track", "event": "pricing.viewed", "anonymousId": f"a-{number}", **when},
            {"type": "identify", "traits": traits, **known},
            {"type": "track", "event": "consent.granted", "properties": consent, **known},
            {"type": "track", "event": "trial.started", **known},
        ):
            place = len(messages)
            messages.append({"messageId": f"m-{number}-{place}", "properties": {}, **body})
    for start in range(0, len(messages), 100):
        sent = int(time.time() * 1000) if at is None else at + first + count
        tracking.batch(SERVER_KEY, messages[start : start + 100], sent)


def records(stack: Stack, logical: str, channel: str = "") -> list:
    topology = Topology(stack.settings)
    codec = open_codec(stack.settings)
    codec.prepare(topology.names("events", "timeline", "decisions", "actions"))
    return [
        codec.decode(message.value())
        for partition in range(topology.partitions("timeline"))
        for message in read_partition(stack.settings, topology.name(logical, channel), partition)
    ]


def wait_sent(stack: Stack, count: int) -> None:
    """Wait until so many decisions say that something was sent."""
    deadline = time.monotonic() + PATIENCE_S
    while sum(one.outcome == "sent" for one in records(stack, "decisions")) < count:
        assert time.monotonic() < deadline, stack.last_words()


def test_silent_under_load_after_kills_and_new_catalogs_loud_about_anything_else(
    broker, overlay, prefix
):
    """On the broker's clock: the worker killed twice under load, a catalog in between, then tampering."""
    with Stack(EXAMPLE, overlay, broker=broker, prefix=prefix) as stack:
        stack.start_all()
        people(stack, 0, 60)
        sound(stack)  # while it works
        stack.kill("worker")
        people(stack, 60, 40)
        sound(stack)  # while nobody works, a transaction perhaps left open
        stack.start("worker")
        stack.run("journeys", "pause", "trial-to-paid")
        people(stack, 100, 20)
        stack.run("journeys", "resume", "trial-to-paid")
        stack.kill("worker")
        stack.start("worker")
        people(stack, 120, 20)
        # Whoever was told while nobody worked may lie on the timeline behind the pause, and not enter:
        # 53 enter for sure, and each of them gets two messages.
        wait_sent(stack, 100)
        deadline = time.monotonic() + PATIENCE_S
        while not everybody_is_in(stages := sound(stack)):
            assert time.monotonic() < deadline, f"{stages}\n{stack.last_words()}"
        assert stack.stop("worker") == 0
        sound(stack)
        tamper(stack)


def everybody_is_in(stages: dict[str, dict]) -> bool:
    """Whether all 140 people have been decided about, and both identities of each were seen.

    A count of what was sent does not tell: it may be the second messages of those who came first.
    """
    decide = stages["decide"]
    return (
        sum(decide["matched"].values()) >= 240
        and decide["states"] >= 140
        and stages["identify"]["states"] >= 280
    )


def tamper(stack: Stack) -> None:
    """Each kind of difference is named, and nothing else."""
    settings, topology = stack.settings, Topology(stack.settings)
    codec = open_codec(settings)
    codec.prepare(topology.names("timeline", "decisions", "actions"))
    producer = Producer(producer_config(settings))
    decisions = topology.name("decisions")
    last = list(read_partition(settings, decisions, 0))[-1]
    producer.produce(decisions, last.value(), last.key(), 0)
    ghost = Action(
        action_id="ghost",
        customer_id="nobody",
        channel="sales",
        message="hot-lead",
        template="",
        journey="trial-to-paid",
        journey_version="",
        entry_id="",
        step="sales",
        decision_id="",
        category="internal",
        priority=0,
        decided_at=1,
        caused_by="",
    )
    actions = topology.name("actions", "sales")
    producer.produce(actions, codec.encode(ghost, actions), b"nobody", 0)
    assert producer.flush(30) == 0
    code, result = verify(stack)
    decide = result["stages"][0]
    assert code == 1
    assert decide["counts"] == {"twice": 1, "unexpected": 1}
    twice = next(one for one in decide["samples"] if one["kind"] == "twice")
    decision = codec.decode(last.value())
    assert isinstance(decision, Decision)
    assert decision.decision_id in twice["what"]
    # A checkpoint that claims to have gone further than it did: an event is lost.
    timeline, changelog = topology.name("timeline"), topology.changelog("customers")
    event = Event(
        event_id="lost",
        type="customer.updated",
        occurred_at=int(time.time() * 1000),
        identities={"account_id": "acme-lost"},
        source="test",
    )
    producer.produce(timeline, codec.encode(event, timeline), b"acme-lost", 1)
    assert producer.flush(30) == 0
    newest = [m for m in read_partition(settings, changelog, 1) if m.key() == metas.META_KEY][-1]
    appended = list(read_partition(settings, timeline, 1))[-1]
    meta = metas.decode(newest.value())
    meta.seq, meta.count, meta.checksum = meta.seq + 1, 0, 0
    meta.position, meta.log_time = appended.offset() + 1, appended.timestamp()[1]
    producer.produce(changelog, metas.encode(meta), metas.META_KEY, 1)
    assert producer.flush(30) == 0
    _, result = verify(stack)
    lost = [one for one in result["stages"][0]["samples"] if one["kind"] == "state_missing"]
    assert [one["key"] for one in lost] == ["acme-lost"]


def test_on_the_log_clock(broker, overlay, prefix):
    """One partition, told time, ticks by the driver: the same verb, the same answer."""
    with Stack(EXAMPLE, overlay, broker=broker, prefix=prefix, clock="log") as stack:
        stack.start_all()
        people(stack, 0, 30, at=1_772_352_000_000)
        wait_sent(stack, 20)
        stages = sound(stack)
        assert stages["decide"]["partitions"] == 1
        assert stages["decide"]["matched"][Topology(stack.settings).name("actions", "email")] == 20
