"""Entries, waits, goals, exits, interrupts: 2-semantics 2.2 and 2.3 on the stage alone."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import internal, sent, steps_after, wait_for

HOUR = Duration(0, 3_600_000)


def run(world, define, wait, at="2026-03-02T10:00", **more):
    w = world(define.catalog(steps_after(define, wait, **more), messages=internal(define)), at)
    w.tell("go", started="yes")
    return w


# -- plain waits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "wait", "end"),
    [
        ("2026-03-28T10:00", {"duration": Duration(1, 0)}, "2026-03-29T10:00"),
        ("2026-03-28T10:00", {"duration": Duration(0, 86_400_000)}, "2026-03-29T11:00"),
        ("2026-03-02T10:00", {"next_time": 9 * 60}, "2026-03-03T09:00"),
        ("2026-03-02T10:00", {"next_time": 10 * 60}, "2026-03-02T10:00"),
        (
            "2026-03-02T10:00",
            {"next_time": 540, "weekdays": frozenset({"sat"})},
            "2026-03-07T09:00",
        ),
    ],
)
def test_waits_end_by_the_customers_calendar(world, define, at, start, wait, end):
    """A day keeps the wall time over a change of clocks, 24 hours do not."""
    w = run(world, define, c.Wait(**wait), start)
    w.pass_time("P20D")
    assert w.last("sent").decided_at == at(end)


def test_a_wait_follows_the_zone(world, define, at):
    """Berlin's ten o'clock becomes New York's at once."""
    w = run(world, define, c.Wait(next_time=18 * 60))
    w.tell("customer.updated", timezone="America/New_York", after="PT1H")
    w.pass_time("P2D")
    assert w.last("sent").decided_at == at("2026-03-02T18:00-05:00")


def dated(define, **more):
    until = define.ex("timestamp(profile.name)")
    return c.Wait(until=until, **more)


def test_a_wait_follows_the_trait_that_it_reads(world, define, at):
    trait = c.Trait(name="date", kind="plain", type="timestamp")
    journey = steps_after(
        define, c.Wait(until=define.ex("profile.date"), minus=Duration(1, 0), at=540)
    )
    w = world(define.catalog(journey, messages=internal(define), traits=(trait,)))
    w.tell("customer.updated", date=at("2026-03-10T00:00"))
    w.tell("go")
    assert w.state.entries[0].wake == at("2026-03-09T09:00")
    w.tell("customer.updated", date=at("2026-03-20T00:00"))
    assert w.state.entries[0].wake == at("2026-03-19T09:00")
    assert sent(w.tell("customer.updated", date=at("2026-03-01T00:00"))) == ["sent late/sales"]


@pytest.mark.parametrize(("word", "expected"), [("continue", "stopped"), ("exit", "past_date")])
def test_a_date_in_the_past_or_missing(world, define, word, expected):
    trait = c.Trait(name="date", kind="plain", type="timestamp")
    wait = c.Wait(until=define.ex("profile.date"), if_past=word)
    w = world(define.catalog(steps_after(define, wait), messages=internal(define), traits=(trait,)))
    w.tell("go")
    assert w.last("exited").reason == expected


# -- wait_for ------------------------------------------------------------------------------------


def test_first_match_wins_at_once_and_the_timeout_goes_on(world, define, at):
    wait = wait_for(
        define, define.pattern("a.done", then="hit"), define.pattern("b.done", then="hit2")
    )
    w = run(world, define, wait)
    assert sent(w.tell("b.done", after="P1D")) == ["sent hit2/sales"]
    w2 = run(world, define, wait)
    assert sent(w2.pass_time("P5D")) == ["sent late/sales"]
    assert w2.last("sent").decided_at == at("2026-03-04T10:00")


def test_what_was_appended_before_the_deadline_beats_it(world, define):
    """The event's log time is the deadline's: the timer fires first, half-open."""
    wait = wait_for(define, define.pattern("a.done", then="hit"))
    w = run(world, define, wait)
    assert sent(w.tell("a.done", at="2026-03-04T09:59:59.999")) == ["sent hit/sales"]
    w2 = run(world, define, wait)
    assert sent(w2.tell("a.done", at="2026-03-04T10:00")) == ["sent late/sales"]


def test_best_is_decided_at_the_timeout_by_rank(world, define, at):
    wait = wait_for(
        define,
        define.pattern("a.done", then="hit"),
        define.pattern("b.done", then="hit2"),
        mode="best",
    )
    w = run(world, define, wait)
    assert sent(w.tell("b.done", after="PT1H", x="b")) == []
    assert sent(w.tell("a.done", after="PT1H", x="a")) == []
    assert sent(w.pass_time("P5D")) == ["sent hit/sales"]
    assert w.last("sent").decided_at == at("2026-03-04T10:00")


def test_since_step_hears_only_what_comes_after_arrival(world, define):
    journey = define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=Duration(1, 0))),
        ("w", wait_for(define, define.pattern("a.done", then="hit"))),
        ("late", define.send("late", "sales")),
        ("end", c.Stop()),
        ("hit", define.send("hit", "sales")),
    )
    w = world(define.catalog(journey, messages=internal(define)))
    w.tell("go")
    w.tell("a.done", after="PT1H")
    assert sent(w.pass_time("P10D")) == ["sent late/sales"]


def test_since_entry_counts_what_came_before_but_not_the_start(world, define, at):
    def journey(on):
        return define.journey(
            "j",
            on,
            ("rest", c.Wait(duration=Duration(1, 0))),
            ("w", wait_for(define, define.pattern("a.done", then="hit"), since="entry")),
            ("late", define.send("late", "sales")),
            ("end", c.Stop()),
            ("hit", define.send("hit", "sales")),
        )

    w = world(define.catalog(journey("go"), messages=internal(define)))
    w.tell("go")
    w.tell("a.done", after="PT1H")
    assert sent(w.pass_time("P10D")) == ["sent hit/sales"]
    assert w.last("sent").decided_at == at("2026-03-03T10:00")
    w = world(define.catalog(journey("a.done"), messages=internal(define)))
    w.tell("a.done")
    assert sent(w.pass_time("P10D")) == ["sent late/sales"]


def test_restart_moves_the_deadline_and_latest(world, define, at):
    journey = steps_after(
        define, wait_for(define, define.pattern("a.done", then="hit"), restart=("cart.updated",))
    )
    content = {"sales": {"cart": define.ex("latest.cart"), "started": define.ex("entry.started")}}
    messages = [
        define.message("late", class_="mandatory", content=content),
        *internal(define, "hit", "hit2"),
    ]
    w = world(define.catalog(journey, messages=messages))
    w.tell("go", started="yes")
    w.tell("cart.updated", after="P1D", cart="second")
    assert sent(w.pass_time("P10D")) == ["sent late/sales"]
    assert w.last("sent").decided_at == at("2026-03-05T10:00")
    assert w.actions[-1].content == {"cart": "second", "started": "yes"}


def test_restart_at_most_a_hundred_times(world, define):
    wait = wait_for(define, define.pattern("a.done", then="hit"), restart=("cart.updated",))
    w = run(world, define, wait)
    for _ in range(130):
        w.tell("cart.updated", after="PT1H")
    assert w.state.entries[0].restarts == 100


def test_a_condition_that_is_true_on_arrival_matches_at_once(world, define):
    wait = wait_for(define, define.pattern(when='profile.plan == "paid"', then="hit"))
    w = world(define.catalog(steps_after(define, wait), messages=internal(define)))
    w.tell("customer.updated", plan="paid")
    assert sent(w.tell("go")) == ["sent hit/sales"]
    w = run(world, define, wait)
    assert sent(w.tell("customer.updated", plan="paid", after="PT1H")) == ["sent hit/sales"]


def test_an_event_moves_an_entry_at_most_once(world, define):
    """What ends the first wait does not also end the second."""
    journey = define.journey(
        "j",
        "go",
        ("w1", wait_for(define, define.pattern("a.done", then="w2"))),
        ("w2", wait_for(define, define.pattern("a.done", then="hit"))),
        ("late", define.send("late", "sales")),
        ("end", c.Stop()),
        ("hit", define.send("hit", "sales")),
    )
    w = world(define.catalog(journey, messages=internal(define)))
    w.tell("go")
    assert sent(w.tell("a.done", after="PT1H")) == []
    assert sent(w.tell("a.done", after="PT1H")) == ["sent hit/sales"]


# -- goals, exits, interrupts --------------------------------------------------------------------


def test_goal_before_exit_before_interrupt_before_wait(world, define):
    kinds = {
        "goal": c.Goal(pattern=define.pattern("x.done")),
        "exits": (define.pattern("x.done"),),
        "interrupts": (define.pattern("x.done", then="hit2"),),
    }
    wait = wait_for(define, define.pattern("x.done", then="hit"))
    w = run(world, define, wait, **kinds)
    assert w.tell("x.done") == ["exited j goal"]
    del kinds["goal"]
    w = run(world, define, wait, **kinds)
    assert w.tell("x.done") == ["exited j exit"]
    del kinds["exits"]
    w = run(world, define, wait, **kinds)
    assert sent(w.tell("x.done")) == ["sent hit2/sales"]


def test_an_interrupt_fires_once_unless_again(world, define):
    def journey(again):
        return define.journey(
            "j",
            "go",
            ("w", c.Wait(duration=Duration(30, 0))),
            ("end", c.Stop()),
            ("hit", define.send("hit", "sales")),
            ("back", c.Wait(duration=Duration(30, 0)), {"then": None}),
            interrupts=(define.pattern("x.done", then="hit", again=again),),
        )

    for again, count in ((False, 1), (True, 3)):
        w = world(define.catalog(journey(again), messages=internal(define, "hit")))
        w.tell("go")
        for _ in range(3):
            w.tell("x.done", after="PT1H")
        assert len(w.actions) == count


def test_max_life_ends_an_entry(world, define):
    w = run(world, define, c.Wait(duration=Duration(30, 0)), max_life=Duration(2, 0))
    assert w.pass_time("P3D") == ["exited j max_life"]


def test_loop_limit(world, define):
    """A hundred passes, then the entry ends and says so."""
    journey = define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=HOUR)),
        ("say", define.send("hit", "sales"), {"then": "rest"}),
    )
    w = world(define.catalog(journey, messages=internal(define, "hit")))
    w.tell("go")
    lines = w.pass_time("P10D")
    assert lines.count("sent hit/sales") == 100
    assert lines[-1] == "exited j loop_limit"
    assert len({a.action_id for a in w.actions}) == 100


def test_a_wait_of_nothing_does_not_hang(world, define):
    journey = define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=Duration(0, 0)), {"then": "again"}),
        ("again", wait_for(define, define.pattern("x.done"), timeout="PT0S"), {"then": "rest"}),
    )
    w = world(define.catalog(journey))
    assert w.tell("go")[-1] == "exited j loop_limit"


# -- keyed entries -------------------------------------------------------------------------------


def keyed(define, **more):
    entry = c.EntryRule(on=("order.placed",), key=define.ex("event.order"), re_entry="never")
    return steps_after(
        define,
        wait_for(define, define.pattern("order.shipped", then="hit")),
        entry=entry,
        exits=(define.pattern("order.cancelled"),),
        **more,
    )


def test_one_entry_for_each_key(world, define):
    w = world(define.catalog(keyed(define), messages=internal(define)))
    assert w.tell("order.placed") == ["nothing j no_key"]
    assert w.tell("order.placed", order=1) == ["entered j"]
    assert w.tell("order.placed", order=1.0) == ["nothing j already_live"]
    assert w.tell("order.placed", order=2) == ["entered j"]
    assert w.tell("order.placed", order=3) == ["entered j"]
    assert w.tell("order.cancelled", order=3) == ["exited j exit"]
    assert sent(w.tell("order.shipped", order=2)) == ["sent hit/sales"]
    assert [entry.key for entry in w.state.entries] == ["1"]
    assert w.tell("order.placed", order=2) == ["nothing j re_entry"]
    assert w.tell("order.cancelled") == ["exited j exit"]


def test_ended_keys_are_bounded(world, define):
    w = world(define.catalog(keyed(define), messages=internal(define)))
    for number in range(300):
        w.tell("order.placed", order=number, after="PT1M")
        w.tell("order.cancelled", order=number)
    assert len(w.state.past) == 256


def test_receipts_are_about_the_entry_of_their_action(world, define):
    entry = c.EntryRule(on=("order.placed",), key=define.ex("event.order"), re_entry="never")
    journey = define.journey(
        "j",
        entry,
        ("say", define.send("a", "email", again=False)),
        ("w", wait_for(define, define.pattern("message.clicked", then="hit"))),
        ("late", define.send("late", "sales")),
        ("end", c.Stop()),
        ("hit", define.send("hit", "sales")),
    )
    messages = [define.message("a", repeat="always"), *internal(define, "late", "hit")]
    w = world(define.catalog(journey, messages=messages))
    w.tell("order.placed", order=1)
    w.tell("order.placed", order=2)
    assert sent(w.receipt("clicked", w.actions[0])) == ["sent hit/sales"]
    assert [entry.key for entry in w.state.entries] == ["2"]


# -- age -----------------------------------------------------------------------------------------


def test_late_events_update_the_profile_and_start_nothing(world, define):
    last = c.Trait(name="seen", kind="last", type="timestamp", on=("go",))
    journey = steps_after(define, c.Wait(duration=Duration(1, 0)))
    w = world(define.catalog(journey, traits=(last,), messages=internal(define)))
    assert w.tell("go", occurred_at="2026-02-01T10:00") == ["nothing j late"]
    assert "seen" in w.state.profile.traits
    assert w.tell("go", backfill=True) == []


def test_a_late_event_acts_through_conditions(world, define):
    journey = steps_after(
        define, c.Wait(duration=Duration(9, 0)), exits=(define.pattern(when='profile.plan == "x"'),)
    )
    w = world(define.catalog(journey, messages=internal(define)), "2026-03-02T10:00")
    w.tell("go")
    lines = w.tell("customer.updated", plan="x", backfill=True)
    assert lines == ["exited j exit"]


# -- splits and choices --------------------------------------------------------------------------


def test_a_split_is_sticky_and_keeps_its_shares(world, define):
    journey = define.journey(
        "j",
        "go",
        (
            "test",
            c.Split(
                arms=(
                    c.SplitArm(name="a", share=3_000, then="one"),
                    c.SplitArm(name="b", share=7_000, then="two"),
                )
            ),
        ),
        ("one", define.send("one", "sales"), {"then": None}),
        ("two", define.send("two", "sales")),
    )
    w = world(define.catalog(journey, messages=internal(define, "one", "two")))
    for number in range(400):
        w.tell("go", customer=f"c{number}")
    share = sum(a.message == "one" for a in w.actions) / 400
    assert 0.2 < share < 0.4
    before = {a.customer_id: a.message for a in w.actions}
    for number in range(40):
        w.tell("go", customer=f"c{number}")
    assert all(before[a.customer_id] == a.message for a in w.actions)


def test_choose_takes_the_first_eligible_option_and_says_so(world, define):
    options = (
        c.Option(name="mail", send=define.send("o", "email"), then="end"),
        c.Option(name="app", send=define.send("a", "inapp"), then="more"),
    )
    journey = define.journey(
        "j",
        "go",
        ("pick", c.Choose(decision="best", among=options)),
        ("end", c.Stop()),
        ("more", define.send("hit", "sales")),
    )
    messages = [
        define.message("o", category="offers"),
        define.message("a"),
        *internal(define, "hit"),
    ]
    w = world(define.catalog(journey, messages=messages))
    assert sent(w.tell("go")) == ["sent a/inapp", "sent hit/sales"]
    choice = next(d for d in w.decisions if d.message == "a")
    assert (choice.rule, choice.rule_values, choice.propensity) == (
        "first_eligible",
        {"option": "app"},
        1.0,
    )
    assert [(one.name, one.reason) for one in choice.candidates] == [
        ("mail/email", "no_consent"),
        ("app/inapp", None),
    ]
