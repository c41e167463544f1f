"""The harness is the engine's twin: the same order of timers and records, the same restart of a state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from orchestrator.errors import InputError
from orchestrator.records import Event
from orchestrator.stages.catalog import EMPTY, Catalog
from orchestrator.stages.protocol import Emit, Input
from orchestrator.testing.harness import Harness


class State(Struct):
    due: int = 0
    catalog: int = 0
    log: list[str] = []


class Alarm:
    """A toy stage: the property ``in`` arms a timer so many ms later; all is written down."""

    name = "alarm"
    source = "timeline"
    table = "alarms"
    sweeps = True

    def key(self, item):
        if item.key == "bad":
            raise InputError("no such key", "bad_key")
        return item.key

    def new(self, key):
        return State(log=[f"new {key}"])

    def encode(self, state):
        return repr((state.due, state.catalog, state.log)).encode()

    def decode(self, data):
        return State(*eval(data))  # noqa: S307 - our own repr

    def apply(self, key, state, item, now, catalog):
        state.log.append(f"event {now} {catalog.hash}")
        if item.record.type == "poison":
            state.due = 1
            raise InputError("poison", "poison")
        if "in" in item.record.properties:
            state.due = now + item.record.properties["in"]
        return [Emit(topic="decisions", key=key)]

    def fire(self, key, state, now, catalog):
        state.log.append(f"timer {now} {catalog.hash}")
        state.due = 0
        return [Emit(topic="actions", key=key)]

    def switch(self, key, state, old, new, at):
        state.log.append(f"switch {at} {old.hash}>{new.hash}")
        return [Emit(topic="outcomes", key=key)]


def event(key, type_="it.happened", **properties):
    record = Event(
        event_id="e",
        type=type_,
        occurred_at=0,
        identities={},
        source="test",
        properties=properties,
    )
    return Input(key=key, record=record)


@pytest.fixture
def harness():
    return Harness(Alarm(), EMPTY)


def test_timers_fire_before_the_record_each_at_its_own_instant_in_order_of_due_and_key(harness):
    harness.append(event("b", **{"in": 10}), 0)
    harness.append(event("a", **{"in": 10}), 0)
    harness.append(event("c", **{"in": 5}), 0)
    outputs = harness.append(event("z"), 10)
    told = [(at, emit.topic, emit.key) for at, emit in outputs]
    assert told == [
        (5, "actions", "c"),
        (10, "actions", "a"),
        (10, "actions", "b"),
        (10, "decisions", "z"),
    ]


def test_log_time_never_runs_back(harness):
    harness.append(event("a"), 10)
    harness.append(event("a"), 3)
    assert harness.states["a"].log == ["new a", "event 10 ", "event 10 "]


def test_a_superseded_timer_does_not_fire(harness):
    harness.append(event("a", **{"in": 10}), 0)
    harness.append(event("a", **{"in": 50}), 1)
    assert harness.advance(40) == []
    assert harness.next_due == 51


def test_a_refused_record_leaves_the_former_state_and_a_dead_letter(harness):
    harness.append(event("a", **{"in": 10}), 0)
    before = harness.stage.encode(harness.states["a"])
    harness.append(event("a", "poison"), 1)
    harness.append(event("bad"), 2)
    harness.append(event("new", "poison"), 3)
    assert harness.stage.encode(harness.states["a"]) == before
    assert "new" not in harness.states
    assert [letter.cause for letter in harness.dead_letters] == ["poison", "bad_key", "poison"]
    assert harness.next_due == 10


def test_a_catalog_reaches_silent_customers_as_of_its_own_instant(harness):
    for key in ("b", "a"):
        harness.append(event(key), 0)
    outputs = harness.switch(Catalog(hash="two"), 7)
    harness.append(event("c"), 9)
    assert [(at, emit.key) for at, emit in outputs] == [(7, "a"), (7, "b")]
    assert harness.states["a"].log[-1] == "switch 7 >two"
    assert harness.states["c"].log == ["new c", "event 9 two"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 30)), max_size=20
    ),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_ticks_change_nothing(inputs, ticks):
    """Lost, doubled and foreign ticks are harmless: only what is due by then fires, in one order."""
    with_ticks, without = Harness(Alarm(), EMPTY), Harness(Alarm(), EMPTY)
    marks = sorted(ticks)
    at = 0
    for key, wait, step in inputs:
        while marks and marks[0] <= at + step:
            with_ticks.advance(marks.pop(0))
        at += step
        for one in (with_ticks, without):
            one.append(event(key, **{"in": wait + 1}), at)
    for one in (with_ticks, without):
        one.advance(1000)
    assert with_ticks.states == without.states


def test_a_timer_that_is_superseded_and_armed_again_for_its_instant_fires_once(harness):
    harness.append(event("a", **{"in": 10}), 0)
    harness.append(event("a", **{"in": 50}), 1)
    harness.append(event("a", **{"in": 8}), 2)
    assert [(at, emit.key) for at, emit in harness.advance(100)] == [(10, "a")]


def test_a_bug_in_a_stage_is_not_hidden(harness, monkeypatch):
    """A timer that leaves itself due would fire for ever."""
    harness.append(event("a", **{"in": 10}), 0)
    monkeypatch.setattr(harness.stage, "fire", lambda *_: [])
    with pytest.raises(RuntimeError, match="yet due at 10 again"):
        harness.advance(20)
