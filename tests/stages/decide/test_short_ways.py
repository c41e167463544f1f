"""What is left out because nobody reads what changed comes to the same as doing it all.

Every life is lived twice: as it is, and with every event followed through and every condition asked.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from orchestrator.stages.calendar import calendar_for
from orchestrator.stages.decide import order, quiet
from orchestrator.stages.decide.concerns import moves_entries
from orchestrator.stages.decide.state import Customer, Past

DAY, HOUR = 86_400_000, 3_600_000
CONDITIONS = (
    'profile.plan == "paid"',
    'profile.plan == "paid" && !consent("email", "news")',
    'consent("email", "news")',
    "profile.visits >= 3",
    'count("page.viewed", "P2D") >= 3',
    'profile.country == "DE" || profile.lifecycle == "paying"',
    "days_since(profile.born) >= 2",
)
OF_ENTRIES = (*CONDITIONS, 'opened("a")', 'latest.n == "2"', 'entry.n == "1" && sent("b")')
VISITS = c.Trait(name="visits", kind="count", type="long", on=("page.viewed",), window_ms=2 * DAY)
BORN = c.Trait(name="born", kind="first", type="timestamp", on=("page.viewed",))
TOTAL = c.Trait(name="total", kind="count", type="long", on=("page.viewed", "x.done"))


@st.composite
def catalogs(draw, define):
    of_entries = st.sampled_from(OF_ENTRIES)
    condition = st.sampled_from(CONDITIONS)
    rules = ()
    if draw(st.booleans()):
        rules = (
            c.LifecycleRule(name="paying", condition=define.when('profile.plan == "paid"')),
            c.LifecycleRule(name="rest", condition=None),
        )
    more = {}
    if draw(st.booleans()):
        more["exits"] = (define.pattern(when=draw(of_entries)), define.pattern("z.done"))
    goal = (
        define.pattern(when=draw(of_entries)) if draw(st.booleans()) else define.pattern("x.done")
    )
    more["goal"] = c.Goal(pattern=goal, within=Duration(5, 0))
    wait = c.WaitFor(
        mode=draw(st.sampled_from(["first", "best"])),
        patterns=(
            define.pattern("y.done", if_='event.n == "2"', then="b"),
            define.pattern(when=draw(of_entries), then="rest"),
        ),
        timeout=Duration(2, 0),
        since=draw(st.sampled_from(["step", "entry"])),
        restart=("z.done",),
    )
    until = c.Wait(until=define.ex("profile.born"), plus=Duration(3, 0))
    steps = [("a", define.send("m0")), ("w", wait), ("b", define.send("m1")), ("rest", until)]
    journeys = [define.journey("first", "go.0", *steps, **more)]
    if draw(st.booleans()):
        entry = c.EntryRule(when=define.when(draw(condition)), re_entry="always")
        journeys.append(define.journey("second", entry, ("s", define.send("m2"))))
    if draw(st.booleans()):
        entry = c.EntryRule(absence_of="x.done", absence_for=Duration(2, 0), re_entry="always")
        journeys.append(define.journey("third", entry, ("t", define.send("m3"))))
    night = c.QuietHours(name="night", start=20 * 60, end=8 * 60)
    return define.catalog(
        *journeys,
        traits=(VISITS, BORN, TOTAL),
        lifecycle=rules,
        counts=frozenset({("page.viewed", 2 * DAY)}),
        policy=define.policy(quiet_hours=(night,) if draw(st.booleans()) else ()),
    )


happenings = st.one_of(
    st.sampled_from(["go.0", "page.viewed", "page.viewed", "x.done", "y.done", "z.done", "other"]),
    st.sampled_from(["granted", "revoked", "opened", "paid", "free", "DE", "Asia/Tokyo"]),
)
lives = st.lists(st.tuples(st.integers(0, 30 * HOUR), happenings), min_size=3, max_size=25)


def lived(world, catalog, life):
    """Return all that left, and the bytes of what is kept after each line."""
    w, kept = world(catalog), []
    for number, (wait, what) in enumerate(life):
        w.pass_time(to=w.now + wait)
        match what:
            case "granted" | "revoked":
                w.tell(f"consent.{what}", channel="email")
            case "opened":
                if w.actions:
                    w.receipt("opened")
            case "paid" | "free":
                w.tell("customer.updated", plan=what)
            case "DE":
                w.tell("customer.updated", country=what)
            case "Asia/Tokyo":
                w.tell("customer.updated", timezone=what)
            case _:
                w.tell(what, n=str(number % 3))
        kept.append(w.harness.stage.encode(w.state))
    w.pass_time("P9D")
    return w.emitted, kept, w.state


def test_what_nobody_reads_may_be_left_out(world, define):
    """Decisions, actions, timers and states are the same to the byte."""

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(catalogs(define), lives)
    def law(catalog, life):
        short = lived(world, catalog, life)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(order, "_ends_there", lambda *_: False)
            patch.setattr(order, "_is_touched", lambda _turn, journey: journey.watches)
            assert lived(world, catalog, life) == short

    law()


def test_quiet_windows_of_days_gone_by_are_not_kept_for_ever(monkeypatch):
    """Where zones, channels and days grow too many, they are found anew."""
    monkeypatch.setattr(quiet, "_MOST_DAYS", 4)
    policy = c.Policy(quiet_hours=(c.QuietHours(name="night", start=22 * 60, end=8 * 60),))
    berlin = calendar_for("Europe/Berlin")
    for day in range(20):
        at = 1_772_532_000_000 + day * DAY
        assert quiet.next_start(policy, berlin, "email", at) == at + 11 * HOUR
    assert len(policy.derived["quiet"]) <= 4


def test_a_goal_of_a_journey_that_is_gone_is_reached_by_nothing():
    """What remains of its entry is still there; no event concerns it."""
    customer = Customer(past={"gone": Past(ended=1, goal_until=9)})
    assert not moves_entries("page.viewed", customer, 2, c.EMPTY)
