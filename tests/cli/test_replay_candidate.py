"""``replay --candidate``: a recorded log, run once as it was and once as it would have been."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from confluent_kafka import Producer

from orchestrator.codec import open_codec
from orchestrator.journeys import load_workspace
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.settings import load_settings
from orchestrator.testing.pipeline import Pipeline
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
    """Three customers on trial, one of whom is anonymous first; one looks at the pricing."""
    number = 0

    def event(when, type_, who, **properties):
        nonlocal number
        number += 1
        kind = "anonymous_id" if who.startswith("a-") else "account_id"
        return Event(
            event_id=f"e{number}",
            type=type_,
            occurred_at=when,
            identities={kind: who},
            source="test",
            properties=properties,
        )

    found = []
    for day, name in enumerate(("anna", "bob", "cara")):
        when = START + day * DAY
        traits = {"name": name, "email": f"{name}@example.com", "country": "DE"}
        if name == "cara":
            found.append(event(when - 3 * HOUR, "pricing.viewed", "a-1", plan="team"))
        found += [
            event(when - 2 * HOUR, "customer.updated", name, **traits),
            event(when - HOUR, "consent.granted", name, channel="email", category="education"),
            event(when, "trial.started", name),
        ]
        if name == "cara":
            both = event(when + HOUR, "feature.used", name, feature="alerts")
            both.identities["anonymous_id"] = "a-1"
            found.append(both)
    found.append(event(START + 9 * DAY, "feature.used", "anna", feature="alerts"))
    return sorted(found, key=lambda one: one.occurred_at)


@pytest.fixture
def recorded(run, flags, workspace):
    """The workspace in force, and the timeline that its identify stage and merges make."""
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
    """Whenever it takes effect, merges included: the same catalog gives the same life."""
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


def test_what_it_asks_for(run, recorded):
    """Exactly one purpose, and a candidate needs its instant."""
    assert run("replay")[0] == 2
    assert run("replay", "--candidate", str(recorded))[0] == 2
    assert run("replay", "--verify", "--since", "1")[0] == 2
