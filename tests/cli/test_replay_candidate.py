"""``replay --candidate``: a recorded log, run once as it was and once as it would have been."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from orchestrator.codec import open_codec
from orchestrator.journeys import load_workspace
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.records import Absorb, Event, Merge
from orchestrator.settings import load_settings
from orchestrator.stages.decide import state as customers
from orchestrator.stages.protocol import Input
from orchestrator.testing.pipeline import Pipeline, _Due
from tests.cli.test_journeys_apply import flags as broker_flags
from tests.cli.test_journeys_apply import run, workspace

__all__ = ["broker_flags", "run", "workspace"]
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

HOUR = 3_600_000
DAY = 24 * HOUR


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


START = at("2026-03-02T10:00:00+01:00")


@pytest.fixture
def flags(broker_flags):
    return {**broker_flags, "clock.mode": "log", "worker.assume_accepted": "true"}


def events():
    """Three customers on trial, a day after each other."""
    number = 0

    def event(when, type_, who, **properties):
        nonlocal number
        number += 1
        return Event(
            event_id=f"e{number}",
            type=type_,
            occurred_at=when,
            identities={"account_id": who},
            source="test",
            properties=properties,
        )

    found = []
    for day, name in enumerate(("anna", "bob", "cara")):
        when = START + day * DAY
        traits = {"name": name, "email": f"{name}@example.com", "country": "DE"}
        found += [
            event(when - 2 * HOUR, "customer.updated", name, **traits),
            event(when - HOUR, "consent.granted", name, channel="email", category="education"),
            event(when, "trial.started", name),
        ]
    found.append(event(START + 9 * DAY, "feature.used", "anna", feature="alerts"))
    return sorted(found, key=lambda one: one.occurred_at)


@pytest.fixture
def recorded(run, flags, workspace):
    """The workspace in force, and the timeline of those events."""
    run("topics", "apply")
    run("journeys", "apply", str(workspace))
    settings = load_settings(env={}, flags=flags)
    topology, codec = Topology(settings), open_codec(settings)
    topic = topology.name("timeline")
    codec.prepare(topology.names("timeline"))
    producer = Producer(producer_config(settings))
    pipeline = Pipeline(load_workspace(workspace).catalog, 1)
    append = pipeline.decide.append

    def record(item, when):
        value = codec.encode(item.record, topic)
        producer.produce(topic, value, item.key, 0, timestamp=when)
        return append(item, when)

    pipeline.decide.append = record
    for event in events():
        pipeline.append(event, event.occurred_at)
    assert producer.flush(30) == 0
    return workspace


def compared(run, folder, since):
    words = ("replay", "--candidate", str(folder), "--since", str(since))
    code, out, err = run(*words, "--output", "json")
    assert code == 0, err
    return json.loads(out), run(*words)[1]


def edit(folder, file, old, new):
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_catalog_itself_as_candidate_changes_nothing(run, recorded):
    """Whenever it takes effect: the same catalog gives the same life."""
    for since in (1, START + HOUR // 2, START + 2 * DAY + HOUR // 2, START + 30 * DAY):
        found, text = compared(run, recorded, since)
        assert found["customers"] == found["not_comparable"] == []
        for table in ("sent", "entries", "exits", "reasons", "rules"):
            assert all(one["actual"] == one["candidate"] for one in found[table]), table
        assert "Everybody would have got the same." in text


def test_a_candidate_shows_who_would_have_got_what(run, recorded):
    """A longer gap defers the follow-up beyond its worth; who was before --since is as he was."""
    edit(recorded, "policy.yaml", "gap: {any: PT4H}", "gap: {any: P30D}")
    found, text = compared(run, recorded, START + DAY + HOUR)
    assert {one["customer"]: one["less"] for one in found["customers"]} == {
        name: ["follow-up on email"] for name in ("anna", "bob", "cara")
    }
    (rule,) = [one for one in found["rules"] if one["what"] == "gap any"]
    assert (rule["actual"], rule["candidate"]) == (0, 3)
    sent = {one["what"]: (one["actual"], one["candidate"]) for one in found["sent"]}
    assert sent == {"follow-up on email": (3, 0), "why-acme on email": (1, 1)}
    assert found["pressure"]["actual"]["messages"] == 4
    assert found["pressure"]["candidate"]["messages"] == 1
    assert "who would have got something else" in text


def test_lives_that_meet_across_partitions(run, broker_flags, workspace):
    """A merge carries the candidate's own life along, whichever partition is read first."""
    real = {"clock.mode": "broker", "topics.partitions": "3"}
    given = {**broker_flags, **real, "worker.assume_accepted": "true"}
    run("topics", "apply", **real)
    run("journeys", "apply", str(workspace), **real)
    settings = load_settings(env={}, flags=given)
    topology, codec = Topology(settings), open_codec(settings)
    topic, count = topology.name("timeline"), topology.partitions("timeline")
    codec.prepare(topology.names("timeline"))
    producer = Producer(producer_config(settings))
    pipeline = Pipeline(load_workspace(workspace).catalog, 1)
    append, absorbed = pipeline.decide.append, []

    def record(item, when):
        value = codec.encode(item.record, topic)
        producer.produce(topic, value, item.key, partition_for(item.key.encode(), count))
        assert producer.flush(30) == 0
        if isinstance(item.record, Absorb):
            absorbed.append(item.record.loser)
        return append(item, when)

    pipeline.decide.append = record
    now, number = int(time.time() * 1000), 0

    def does(type_, properties, **identities):
        nonlocal number
        number += 1
        event = Event(
            event_id=f"m{number}",
            type=type_,
            occurred_at=now,
            identities=identities,
            source="test",
            properties=properties,
        )
        pipeline.append(event, now)

    for who in range(8):
        anonymous = {"anonymous_id": f"a-{who}"}
        traits = {"name": f"N{who}", "email": f"n{who}@example.com", "country": "DE"}
        does("customer.updated", traits, **anonymous)
        does("consent.granted", {"channel": "email", "category": "education"}, **anonymous)
        does("trial.started", {}, **anonymous)
        (loser,) = {key for key in pipeline.decide.states if key.startswith("anon:")} - set(
            absorbed
        )
        does("feature.used", {"feature": "x"}, account_id=f"acme-{who}")
        merge = Merge(merge_id=f"{who:032x}", loser=loser, winner=f"acme-{who}", caused_by="x")
        pipeline._due.append(_Due(pipeline.decide, Input(key=loser, record=merge), now))
        pipeline._drain()
    assert len(absorbed) == 8
    edit(workspace, "policy.yaml", "gap: {any: PT4H}", "gap: {any: PT5H}")
    words = ("replay", "--candidate", str(workspace), "--since", "1", "--output", "json")
    code, out, err = run(*words, **real, **{"worker.assume_accepted": "true"})
    assert code == 0, err
    found = json.loads(out)
    assert found["customers"] == found["not_comparable"] == []
    for table in ("entries", "exits"):
        assert all(one["actual"] == one["candidate"] for one in found[table]), found[table]
    (entries,) = found["entries"]
    assert entries["actual"] == 8


def test_a_log_that_has_been_cut(run, recorded, flags):
    """Who is older than the log is listed; the others are compared."""
    settings = load_settings(env={}, flags=flags)
    topology = Topology(settings)
    producer = Producer(producer_config(settings))
    for name, since in (("anna", START - 2 * HOUR), ("bob", START + DAY - 2 * HOUR)):
        state = customers.Customer(first_seen=since)
        value = bytes(8) + customers.encode(state)
        producer.produce(topology.changelog("customers"), value, name.encode(), 0)
    assert producer.flush(30) == 0
    admin = AdminClient({"bootstrap.servers": flags["kafka.bootstrap.servers"]})
    cut = TopicPartition(topology.name("timeline"), 0, 5)
    for done in admin.delete_records([cut]).values():
        done.result(30)
    found, text = compared(run, recorded, START)
    assert [one["customer"] for one in found["not_comparable"]] == ["anna"]
    assert "not comparable: 1 customers" in text
    sent = {one["what"]: (one["actual"], one["candidate"]) for one in found["sent"]}
    assert sent["why-acme on email"] == (2, 2)
    assert found["customers"] == []


def test_what_it_asks_for(run, recorded):
    """Exactly one purpose, and a candidate needs its instant."""
    assert run("replay")[0] == 2
    assert run("replay", "--candidate", str(recorded))[0] == 2
    assert run("replay", "--verify", "--since", "1")[0] == 2


def test_a_life_that_the_candidate_never_sent(run, recorded, flags):
    """Its merge lies nowhere in the log: the record is taken as it was, and its customer is listed."""
    settings = load_settings(env={}, flags=flags)
    topology, codec = Topology(settings), open_codec(settings)
    topic = topology.name("timeline")
    codec.prepare(topology.names("timeline"))
    state = customers.encode(customers.Customer(first_seen=START))
    absorb = Absorb(merge_id="m" * 32, loser="anon:1", state=state, state_version=1)
    producer = Producer(producer_config(settings))
    when = START + 10 * DAY
    producer.produce(topic, codec.encode(absorb, topic), "bob", 0, timestamp=when)
    assert producer.flush(30) == 0
    found, text = compared(run, recorded, START)
    (one,) = found["not_comparable"]
    assert one["customer"] == "bob"
    assert "took in a customer" in one["reason"]
    assert "not comparable: 1 customers" in text
    assert found["customers"] == []
