"""The stage as the engine sees it: keys, bytes, bounds, timers that raise."""

import pytest

from orchestrator.errors import InputError, UnavailableError
from orchestrator.expressions.durations import Duration
from orchestrator.records import Event, Link, Model
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import Decide
from orchestrator.stages.protocol import GivesUp, Input


def event(**more):
    defaults = {
        "event_id": "e",
        "type": "x.done",
        "occurred_at": 1,
        "identities": {},
        "source": "s",
    }
    return Event(**{**defaults, **more})


def test_the_key_is_the_customer():
    stage = Decide()
    assert stage.key(Input(key="anna", record=event())) == "anna"
    with pytest.raises(InputError):
        stage.key(Input(key="", record=event()))


def test_a_newer_state_waits_for_the_upgrade():
    with pytest.raises(UnavailableError):
        Decide().decode(b"\xff")


def test_links_are_refused_and_models_are_not_learned_from_yet(world, define):
    w = world(define.catalog())
    stage, state = w.harness.stage, w.state
    link = Link(a="x:1", b="y:2", customer_id="anna", first_seen=1, caused_by="e")
    with pytest.raises(InputError):
        stage.apply("anna", state, Input(key="anna", record=link), w.now, define.catalog())
    model = Model(decision_point="d", version="1", parameters=b"")
    assert (
        stage.apply("anna", state, Input(key="anna", record=model), w.now, define.catalog()) == []
    )


def journey(define):
    return define.journey(
        "j", "go", ("rest", c.Wait(duration=Duration(1, 0))), ("say", define.send("m", "inapp"))
    )


def test_a_timer_that_raises_ends_its_entry_and_leaves_the_others(world, define):
    longer = define.journey("k", "go", ("rest", c.Wait(duration=Duration(2, 0))))
    catalog = define.catalog(journey(define), longer)
    w = world(catalog)
    w.tell("go")
    stage = w.harness.stage
    assert isinstance(stage, GivesUp)
    due = w.state.due
    emits = stage.give_up("anna", w.state, due, catalog)
    assert [(e.record.outcome, e.record.journey, e.record.reason) for e in emits] == [
        ("exited", "j", "error")
    ]
    assert [entry.journey for entry in w.state.entries] == ["k"]
    assert w.state.due == w.state.entries[0].wake > due


def test_actions_carry_what_a_sink_needs(world, define, at):
    content = {
        "inapp": {"profile.name": define.ex("profile.name"), "gone": define.ex("profile.plan")}
    }
    catalog = define.catalog(journey(define), messages=[define.message("m", content=content)])
    w = world(catalog)
    w.tell("customer.updated", name="Anna")
    w.tell("go", id_="start")
    w.pass_time("P2D")
    (action,) = w.actions
    assert action.content == {"profile.name": "Anna"}
    assert action.template == "hash-m"
    assert action.caused_by == f"timer:{at('2026-03-03T10:00')}"
    assert action.expires_at == at("2026-03-10T10:00")
    assert action.decision_id == w.last("sent").decision_id
    assert action.address is None


def test_the_context_of_an_entry_is_bounded(world, define):
    w = world(define.catalog(journey(define)))
    w.tell("go", **{f"p{n}": "x" * 1000 for n in range(10)}, small=1)
    (entry,) = w.state.entries
    assert list(entry.entry) == ["p0", "p1", "p2", "p3", "small"] or len(entry.entry) == 5


def test_the_state_stays_small_after_ten_thousand_events(world, define):
    """Typical state below 1.5 KB without the memory of recent events; 64 KB never reached."""
    message = define.message("m", repeat="always")
    w = world(define.catalog(journey(define), messages=[message]))
    stage, catalog = w.harness.stage, w.harness.catalog
    state, now = w.state, w.now
    for number in range(10_000):
        now += 3_600_000
        if 0 < state.due <= now:
            stage.fire("anna", state, now, catalog)
        one = event(
            event_id=str(number), type="go" if number % 24 == 0 else "x.done", occurred_at=now
        )
        stage.apply("anna", state, Input(key="anna", record=one), now, catalog)
    assert len(state.sends) == 64
    assert len(stage.encode(state)) < 16_384
    state.sends = state.sends[-3:]
    assert len(stage.encode(state)) < 1_536


def test_an_option_whose_condition_is_false_is_not_eligible(world, define):
    options = (
        c.Option(
            name="a", send=define.send("a", "inapp"), condition=define.ex('profile.plan == "x"')
        ),
        c.Option(name="b", send=define.send("b", "inapp")),
    )
    w = world(
        define.catalog(define.journey("j", "go", ("pick", c.Choose(decision="d", among=options))))
    )
    assert "sent b/inapp" in w.tell("go")
