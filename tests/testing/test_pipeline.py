"""Identify and decide behind each other: one order, log time of the cause, nothing lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.ids import provisional_id
from orchestrator.journeys import load_workspace
from orchestrator.records import Action, Decision, Event
from orchestrator.stages.identify.state import row_key
from orchestrator.testing.pipeline import Pipeline
from orchestrator.testing.simulation import simulate

IDENTITY = Path(__file__).parents[1] / "scenarios" / "identity"


@pytest.fixture(scope="module")
def catalog():
    return load_workspace(IDENTITY).catalog


def viewed(event_id, at, **identities):
    return Event(
        event_id=event_id,
        type="page.viewed",
        occurred_at=at,
        identities=identities,
        source="test",
    )


def test_an_event_reaches_its_customer_and_what_follows_carries_its_log_time(catalog):
    pipeline = Pipeline(catalog)
    left = pipeline.append(viewed("e1", 5, id="anna"), 7)
    records = [output.emit.record for output in left]
    assert {output.at for output in left} == {7}
    assert [one.kind for one in records if isinstance(one, Action)] == ["send"]
    assert next(one.outcome for one in records if isinstance(one, Decision)) == "entered"
    assert pipeline.now == 7


def test_what_two_identities_say_of_each_other_comes_back_to_identify(catalog):
    """A Link travels as a record of the topic events, and leaves nothing waiting."""
    pipeline = Pipeline(catalog)
    pipeline.append(viewed("e1", 1, id="anna", email="Anna@x.org"), 1)
    left = pipeline.append(viewed("e2", 2, email="anna@x.org"), 2)
    assert {output.emit.key for output in left} == {"anna"}
    rows = {row_key("", identity) for identity in ("id:anna", "email:anna@x.org")}
    assert set(pipeline.identify.states) == rows
    assert not pipeline.dead_letters


def test_a_visitor_who_becomes_known_takes_his_life_along(catalog):
    """Link, merge and the state that travels pass through both stages before the next event."""
    pipeline = Pipeline(catalog)
    pipeline.append(viewed("e1", 1, anonymous_id="x"), 1)
    pipeline.append(viewed("e2", 2, id="anna", anonymous_id="x"), 2)
    visitor = provisional_id("anonymous_id:x")
    assert pipeline.decide.states[visitor].redirect == "anna"
    assert pipeline.decide.states["anna"].merged == (visitor,)
    left = pipeline.append(viewed("e3", 3, anonymous_id="x"), 3)
    assert {output.emit.key for output in left} == {"anna"}


def test_simulate_counts_a_merged_customer_once(catalog):
    events = [
        viewed("e1", 1, anonymous_id="x"),
        viewed("e2", 2, id="anna", anonymous_id="x"),
        viewed("e3", 3, id="bert", anonymous_id="x"),
    ]
    tally = simulate(catalog, events)
    assert (tally.events, tally.customers, tally.merges) == (3, 2, 1)
    assert tally.dead_letters == {"known_customers": 1}


def test_what_cannot_be_keyed_or_applied_is_a_dead_letter(catalog):
    pipeline = Pipeline(catalog)
    assert pipeline.append(viewed("e1", 1, fax="1"), 1) == []
    assert pipeline.append(viewed("e2", 2, customer="nobody"), 2) == []
    assert [letter.cause for letter in pipeline.dead_letters] == ["no_identity", "unknown_customer"]
    assert pipeline.decide.states == {}


def test_a_catalog_switch_reaches_both_stages(catalog):
    pipeline = Pipeline(catalog)
    pipeline.append(viewed("e1", 1, id="anna"), 1)
    pipeline.switch(load_workspace(IDENTITY.parent / "flow").catalog, 2)
    assert pipeline.append(viewed("e2", 3, id="anna"), 3) == []
    assert pipeline.decide.catalog is pipeline.identify.catalog
