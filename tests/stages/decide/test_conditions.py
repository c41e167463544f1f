"""Entries by condition, by absence, and lifecycle: 2-semantics 2.2 on the stage alone."""

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import HEAT, internal, sent

# -- when, absence, lifecycle --------------------------------------------------------------------


def test_when_starts_on_becoming_true(world, define):
    entry = c.EntryRule(when=define.when('profile.plan == "paid"'), re_entry="always")
    journey = define.journey("j", entry, ("say", define.send("hit", "sales")))
    w = world(define.catalog(journey, messages=internal(define, "hit")))
    assert sent(w.tell("customer.updated", plan="paid")) == ["sent hit/sales"]
    assert sent(w.tell("customer.updated", name="x", plan="paid")) == []
    assert sent(w.tell("customer.updated", plan="free")) == []
    assert sent(w.tell("customer.updated", plan="paid")) == ["sent hit/sales"]


def test_when_starts_a_new_customer_from_false(world, define):
    entry = c.EntryRule(when=define.when('profile.email == "anna@example.com"'))
    journey = define.journey("j", entry, ("say", define.send("hit", "sales")))
    w = world(define.catalog(journey, messages=internal(define, "hit")))
    assert [a.message for a in w.actions] == ["hit"]


def test_a_score_that_decays_below_a_threshold_starts_an_entry_at_the_instant(world, define, at):
    entry = c.EntryRule(
        when=define.when("profile.heat < 1.0"), condition=define.ex("profile.heat > 0.5")
    )
    journey = define.journey("j", entry, ("say", define.send("hit", "sales")))
    w = world(define.catalog(journey, messages=internal(define, "hit"), traits=(HEAT,)))
    w.tell("page.viewed")
    w.pass_time("P10D")
    moment = w.last("sent").decided_at
    assert 0 <= moment - at("2026-03-05T10:00") <= 1


def test_absence_fires_once_per_silence(world, define):
    entry = c.EntryRule(absence_of="app.opened", absence_for=Duration(7, 0), re_entry="always")
    journey = define.journey("j", entry, ("say", define.send("hit", "sales")))
    w = world(define.catalog(journey, messages=internal(define, "hit")))
    assert w.pass_time("P30D") == []
    w.tell("app.opened")
    w.tell("app.opened", after="P5D")
    assert sent(w.pass_time("P6D")) == []
    assert sent(w.pass_time("P30D")) == ["sent hit/sales"]
    w.tell("app.opened")
    assert sent(w.pass_time("P7D")) == ["sent hit/sales"]


def lifecycle(define, *journeys, **more):
    rules = (
        c.LifecycleRule(name="paying", condition=define.when('profile.plan == "paid"')),
        c.LifecycleRule(name="new", condition=None),
    )
    return define.catalog(*journeys, lifecycle=rules, messages=internal(define, "hit"), **more)


def test_lifecycle_changed_is_an_event_of_the_same_instant(world, define):
    entry = c.EntryRule(
        on=("lifecycle.changed",),
        condition=define.ex('event.from == "new" && event.to == "paying"'),
        re_entry="always",
    )
    w = world(lifecycle(define, define.journey("j", entry, ("say", define.send("hit", "sales")))))
    assert sent(w.tell("customer.updated", plan="paid")) == ["sent hit/sales"]
    assert w.last("sent").caused_by == "e2"


def test_set_steps_change_the_lifecycle_and_exits_at_once(world, define):
    journey = define.journey(
        "j",
        "go",
        ("mark", c.SetTraits(values={"plan": define.ex('"paid"')})),
        ("say", define.send("hit", "sales")),
        exits=(define.pattern(when='profile.lifecycle == "paying"'),),
    )
    w = world(lifecycle(define, journey))
    assert w.tell("go") == ["entered j", "exited j exit"]


def test_a_cascade_of_lifecycle_changes_is_cut(world, define):
    """Two journeys that undo each other's trait stop after 32 derived events, and say so."""

    def flip(name, to, value):
        entry = c.EntryRule(
            on=("lifecycle.changed",), condition=define.ex(f'event.to == "{to}"'), re_entry="always"
        )
        return define.journey(name, entry, ("mark", c.SetTraits(values={"plan": define.ex(value)})))

    w = world(lifecycle(define, flip("a", "paying", '"free"'), flip("b", "new", '"paid"')))
    assert w.last("nothing").reason == "cascade"
    assert len(w.decisions) < 150
