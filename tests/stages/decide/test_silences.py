"""Absences end by the customer's own clock, whatever becomes of their zone."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.protocol import Input

HOUR = 3_600_000
DAYS = Duration(3, 0)


def quiet(define, span=DAYS, zone="Europe/Berlin"):
    rule = c.EntryRule(absence_of="app.opened", absence_for=span, re_entry="always")
    journey = define.journey("quiet", rule, ("out", c.Stop()))
    return define.catalog(journey, policy=define.policy(timezone=zone))


@pytest.mark.parametrize("span", [DAYS, Duration(0, 72 * HOUR), Duration(0, 80 * HOUR)])
def test_days_of_silence_are_days_of_the_new_zone(world, define, at, span):
    """Berlin changes its clocks within the three days and New York does not; hours are hours."""
    w = world(quiet(define, span))
    w.tell("app.opened", at="2026-03-28T10:00")
    begun = w.now
    if span.days:
        assert w.state.absences == {"quiet": at("2026-03-31T10:00")}
    assert w.state.silences == {"quiet": begun}
    w.tell("customer.updated", after="P1D", timezone="America/New_York")
    expected = begun + 72 * HOUR if span.days else begun + span.ms
    assert w.state.absences == {"quiet": expected}
    assert w.pass_time("P9D") == ["entered quiet", "exited quiet stopped"]
    assert w.last("entered").decided_at == expected
    assert (w.state.absences, w.state.silences) == ({}, {})


def test_a_silence_that_is_over_in_the_new_zone_starts_the_journey_next(world, define):
    """Three days are 72 hours in Tokyo and 73 in New York when its clocks go back."""
    w = world(quiet(define, zone="America/New_York"), at="2026-10-30T10:00")
    w.tell("app.opened")
    begun = w.now
    w.pass_time(to=begun + 72 * HOUR + HOUR // 2)
    w.tell("customer.updated", timezone="Asia/Tokyo")
    assert w.pass_time("PT1H") == ["entered quiet", "exited quiet stopped"]
    assert w.last("entered").decided_at == begun + 72 * HOUR + HOUR // 2 + 1


def test_another_zone_of_the_policy_is_another_zone_of_the_customer(world, define):
    """Who has none of their own lives by the policy's; also a wait of an entry that is pinned."""
    rest = define.journey(
        "rest", "go", ("rest", c.Wait(duration=Duration(3, 0))), ("out", c.Stop())
    )
    catalogs = []
    for number, zone in enumerate(("Asia/Tokyo", "Europe/Berlin")):
        journeys = (rest, *quiet(define).journeys.values())
        policy = define.policy(timezone=zone)
        catalogs.append(define.catalog(*journeys, policy=policy, hash=f"c{number}"))
    w = world(catalogs[0], at="2026-03-27T10:00")
    w.tell("app.opened")
    w.tell("go")
    begun = w.now
    assert w.state.absences == {"quiet": begun + 72 * HOUR}
    w.pass_time("P1D")
    w.apply(catalogs[1])
    assert w.state.absences == {"quiet": begun + 71 * HOUR}
    assert w.state.entries[0].wake == begun + 71 * HOUR


def test_a_silence_of_the_loser_ends_by_the_winners_clock(world, define):
    w = world(quiet(define), at="2026-03-27T10:00")
    w.tell("customer.updated", timezone="Asia/Tokyo")
    w.tell("app.opened", customer="anon:1")
    begun = w.now
    w.pass_time("PT1H")
    before = len(w.emitted)
    w.append(
        Input(
            key="anon:1",
            record=Merge(merge_id="m", loser="anon:1", winner="anna", caused_by="x"),
        )
    )
    (absorb,) = w.emitted[before:]
    w.append(Input(key="anna", record=absorb.record))
    assert w.state.absences == {"quiet": begun + 72 * HOUR}


def test_a_silence_under_way_gets_its_new_length(world, define):
    """Known since when it lasts, whoever else asks for the event; then the journey goes."""
    w = world(quiet(define))
    w.tell("app.opened")
    begun = w.now
    w.pass_time("PT1H")
    w.apply(quiet(define, Duration(0, 50 * HOUR)))
    assert w.state.absences == {"quiet": begun + 50 * HOUR}
    w.apply(define.catalog())
    assert (w.state.absences, w.state.silences) == ({}, {})


def test_a_silence_of_a_journey_that_is_gone_rests(world, define):
    """A life from another partition may bring one along: its zone moves nothing."""
    w = world(quiet(define))
    far = w.now + 1_000 * HOUR
    w.state.absences["gone"], w.state.silences["gone"] = far, w.now
    w.tell("customer.updated", timezone="Asia/Tokyo")
    assert w.state.absences == {"gone": far}
