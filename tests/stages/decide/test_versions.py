"""Catalog switches: pin, follow, status, existing. Nothing is stranded."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import sent


def waiting(define, days=2, message="old", version="1", **more):
    return define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=Duration(days, 0))),
        ("say", define.send(message, "sales")),
        version=version,
        **more,
    )


def catalogs(define, first, second, **more):
    versions = {(j.name, j.version): j for j in (first, second) if j is not None}
    messages = [define.message(m, class_="mandatory") for m in ("old", "new")]
    return [
        define.catalog(
            *([journey] if journey else []),
            messages=messages,
            pinned=lambda name, version: versions.get((name, version)),
            hash=f"catalog-{number}",
            **(more if number else {}),
        )
        for number, journey in enumerate((first, second))
    ]


def test_pin_keeps_its_own_definition(world, define, at):
    before, after = catalogs(
        define, waiting(define), waiting(define, days=5, message="new", version="2")
    )
    w = world(before)
    w.tell("go")
    assert w.apply(after) == []
    assert sent(w.pass_time("P9D")) == ["sent old/sales"]
    assert w.last("sent").decided_at == at("2026-03-04T10:00")
    assert w.last("sent").journey_version == "1"
    w.tell("go")
    assert sent(w.pass_time("P9D")) == ["sent new/sales"]


@pytest.mark.parametrize(("days", "due"), [(5, "2026-03-07T10:00"), (1, "2026-03-03T22:00")])
def test_follow_keeps_the_position(world, define, at, days, due):
    """A longer wait waits on, a shorter one that is over wakes at the apply."""
    before, after = catalogs(
        define,
        waiting(define, in_flight="follow"),
        waiting(define, days=days, message="new", version="2", in_flight="follow"),
    )
    w = world(before)
    w.tell("go")
    w.apply(after, at="2026-03-03T22:00")
    w.pass_time("P9D")
    assert w.last("sent").message == "new"
    assert w.last("sent").decided_at == at(due)


def test_follow_out_of_a_deleted_step_and_by_a_new_name(world, define):
    before, gone = catalogs(
        define,
        waiting(define, in_flight="follow"),
        define.journey(
            "j", "go", ("say", define.send("new", "sales")), version="2", in_flight="follow"
        ),
    )
    w = world(before)
    w.tell("go")
    assert sent(w.apply(gone)) == ["sent new/sales"]
    renamed = define.journey(
        "j",
        "go",
        ("pause", c.Wait(duration=Duration(2, 0)), {"was": "rest"}),
        ("say", define.send("new", "sales")),
        version="3",
        in_flight="follow",
    )
    before, after = catalogs(define, waiting(define, in_flight="follow"), renamed)
    w = world(before)
    w.tell("go")
    assert w.apply(after) == []
    assert w.state.entries[0].step == "pause"
    assert sent(w.pass_time("P9D")) == ["sent new/sales"]


def test_follow_without_any_step_left_completes(world, define):
    before, after = catalogs(
        define,
        define.journey("j", "go", ("rest", c.Wait(duration=Duration(2, 0))), in_flight="follow"),
        define.journey(
            "j", "go", ("say", define.send("new", "sales")), version="2", in_flight="follow"
        ),
    )
    w = world(before)
    w.tell("go")
    assert w.apply(after) == ["exited j completed"]


def test_status(world, define):
    """Paused: no entries, waits run, sends are held. Draining: no entries. Stopped: all end."""
    first = waiting(define)
    before, paused = catalogs(define, first, first, status={"j": "paused"})
    w = world(before)
    w.tell("go")
    w.apply(paused)
    assert w.tell("go") == ["nothing j paused"]
    assert sent(w.pass_time("P3D")) == ["deferred old/sales paused"]
    assert sent(w.apply(before)) == ["sent old/sales"]
    _, draining = catalogs(define, first, first, status={"j": "draining"})
    w.tell("go")
    w.apply(draining)
    assert w.tell("go") == ["nothing j not_live"]
    assert sent(w.pass_time("P3D")) == ["sent old/sales"]
    w.apply(before)
    w.tell("go")
    _, stopped = catalogs(define, first, first, status={"j": "stopped"})
    assert w.apply(stopped) == ["exited j not_live"]


def test_a_removed_journey_drains_and_a_lost_version_ends(world, define):
    before, after = catalogs(define, waiting(define), None)
    w = world(before)
    w.tell("go")
    assert w.apply(after) == []
    assert sent(w.pass_time("P3D")) == ["sent old/sales"]
    w = world(before)
    w.tell("go")
    assert w.apply(define.catalog()) == ["exited j not_live"]


def when_journey(define, existing):
    entry = c.EntryRule(when=define.when('profile.plan == "paid"'), existing=existing)
    return define.journey("j", entry, ("say", define.send("new", "sales")))


@pytest.mark.parametrize(("existing", "count"), [(True, 1), (False, 0)])
def test_existing_customers_come_in_paced_over_an_hour(world, define, existing, count):
    before, after = catalogs(define, None, when_journey(define, existing))
    w = world(before)
    w.tell("customer.updated", plan="paid")
    applied = w.now
    assert w.apply(after) == []
    assert len(sent(w.pass_time("PT2H"))) == count
    if count:
        assert applied < w.last("sent").decided_at <= applied + 3_600_000
    w.tell("customer.updated", plan="free")
    last = ["nothing j re_entry"] if existing else ["sent new/sales"]
    assert sent(w.tell("customer.updated", plan="paid")) == last


def test_a_new_exit_condition_acts_at_the_switch(world, define):
    ends = (define.pattern(when='profile.plan == "paid"'),)
    before, after = catalogs(
        define,
        waiting(define, in_flight="follow"),
        waiting(define, version="2", in_flight="follow", exits=ends),
    )
    w = world(before)
    w.tell("customer.updated", plan="paid")
    w.tell("go")
    assert w.apply(after) == ["exited j exit"]


def test_a_deferred_send_is_tried_again_under_the_new_policy(world, define):
    quiet = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    journey = define.journey("j", "go", ("say", define.send("m")))
    strict = define.catalog(journey, policy=define.policy(quiet_hours=(quiet,)))
    w = world(strict, "2026-03-02T22:00")
    assert sent(w.tell("go")) == ["deferred m/email quiet_hours"]
    assert sent(w.apply(strict)) == []
    assert sent(w.apply(define.catalog(journey))) == ["sent m/email"]


def test_follow_is_spread(world, define, at):
    before, after = catalogs(
        define,
        waiting(define, in_flight="follow"),
        waiting(define, days=1, version="2", in_flight="follow"),
        policy=define.policy(spread_ms=600_000),
    )
    w = world(before)
    w.tell("go")
    w.apply(after, at="2026-03-03T22:00")
    w.pass_time("P9D")
    assert at("2026-03-03T22:00") <= w.last("sent").decided_at < at("2026-03-03T22:10")
