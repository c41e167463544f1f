"""Arbitration and protection: what happens when several sends want one slot."""

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import sent

HOUR = Duration(0, 3_600_000)


def rivals(define, *specs, **policy):
    """(name, priority, value): all start on ``go`` and send their own message."""
    journeys = [
        define.journey(
            name, "go", ("say", define.send(f"m-{name}", value=value)), priority=priority
        )
        for name, priority, value in specs
    ]
    return define.catalog(*journeys, policy=define.policy(**policy))


ONE_A_DAY = (c.Cap(name="one", limit=1, per="day"),)


def test_the_highest_score_wins_and_the_loser_names_it(world, define, at):
    catalog = rivals(define, ("a", 50, None), ("b", 40, "2.0"), caps=ONE_A_DAY)
    w = world(catalog)
    assert sorted(sent(w.tell("go"))) == ["lost m-a/email arbitration", "sent m-b/email"]
    lost = w.last("lost")
    assert lost.rule_values["winner"] == "m-b"
    assert lost.rule == "one"
    assert lost.until == at("2026-03-03T00:00")
    assert [(one.name, one.score) for one in lost.candidates] == [("b", 80.0), ("a", 50.0)]
    assert sent(w.pass_time("P1D")) == ["sent m-a/email"]


def test_ties_go_by_priority_then_name(world, define):
    w = world(rivals(define, ("b", 50, None), ("a", 50, None), caps=ONE_A_DAY))
    assert sent(w.tell("go"))[0] == "sent m-a/email"
    w = world(rivals(define, ("a", 40, "5.0"), ("b", 50, "4.0"), caps=ONE_A_DAY))
    assert sent(w.tell("go"))[0] == "sent m-b/email"


def test_a_lost_gap_follows_on_block_arbitration(world, define):
    catalog = rivals(
        define,
        ("a", 50, None),
        ("b", 60, None),
        gap={"any": HOUR},
        on_block={"arbitration": "skip"},
    )
    w = world(catalog)
    assert sent(w.tell("go")) == ["sent m-b/email", "lost m-a/email arbitration"]
    assert w.last("lost").until is None
    assert not w.state.entries


def test_without_a_common_cap_or_gap_all_are_sent(world, define):
    w = world(rivals(define, ("a", 50, None), ("b", 60, None)))
    assert sent(w.tell("go")) == ["sent m-b/email", "sent m-a/email"]


def test_a_slot_taken_before_the_round_is_a_cap_and_no_loss(world, define):
    journeys = [define.journey(n, f"go.{n}", ("say", define.send(n))) for n in ("a", "b")]
    w = world(define.catalog(*journeys, policy=define.policy(caps=ONE_A_DAY)))
    w.tell("go.a")
    assert sent(w.tell("go.b")) == ["deferred b/email cap"]


def test_two_entries_that_reach_one_message_send_it_once(world, define):
    journeys = [define.journey(n, "go", ("say", define.send("m"))) for n in ("a", "b")]
    w = world(define.catalog(*journeys))
    assert sent(w.tell("go")) == ["sent m/email", "suppressed m/email already_sent"]


def test_a_window_collects_candidates(world, define, at):
    """The first opens it, later ones join, and at its end they compete."""
    low = define.journey("low", "go.low", ("say", define.send("m-low")), priority=10)
    high = define.journey("high", "go.high", ("say", define.send("m-high")), priority=90)
    policy = define.policy(arbitration_window=HOUR, caps=ONE_A_DAY)
    w = world(define.catalog(low, high, policy=policy))
    assert sent(w.tell("go.low")) == ["deferred m-low/email arbitration"]
    assert sent(w.tell("go.high", after="PT30M")) == ["deferred m-high/email arbitration"]
    assert w.last("deferred").until == at("2026-03-02T11:00")
    assert sent(w.pass_time("PT1H")) == ["sent m-high/email", "lost m-low/email arbitration"]
    assert w.last("sent").decided_at == at("2026-03-02T11:00")


def test_internal_and_transactional_do_not_compete(world, define):
    journeys = [
        define.journey("a", "go", ("say", define.send("m-a"))),
        define.journey("s", "go", ("say", define.send("m-s", "sales")), priority=0),
        define.journey("t", "go", ("say", define.send("m-t")), priority=0),
    ]
    policy = define.policy(arbitration_window=HOUR, caps=ONE_A_DAY)
    messages = [define.message("m-t", class_="transactional")]
    w = world(define.catalog(*journeys, messages=messages, policy=policy))
    assert sorted(sent(w.tell("go"))) == [
        "deferred m-a/email arbitration",
        "sent m-s/sales",
        "sent m-t/email",
    ]


def test_protect_leaves_the_last_slot_to_a_higher_send_that_is_scheduled(world, define, at):
    big = define.journey(
        "big",
        "go.big",
        ("rest", c.Wait(duration=Duration(0, 4 * 3_600_000))),
        ("say", define.send("m-big")),
        priority=90,
        exits=(define.pattern("stop.big"),),
    )
    small = define.journey("small", "go.small", ("say", define.send("m-small")), priority=10)
    policy = define.policy(caps=ONE_A_DAY, protect=Duration(0, 6 * 3_600_000))
    catalog = define.catalog(big, small, policy=policy)
    w = world(catalog)
    w.tell("go.big")
    assert sent(w.tell("go.small", after="PT1H")) == ["deferred m-small/email protected"]
    deferral = w.last("deferred")
    assert (deferral.until, deferral.rule) == (at("2026-03-02T14:00"), "one")
    assert deferral.rule_values == {"left": 1, "scheduled": 1}
    # At that instant both are due: the higher one takes the slot.
    assert sent(w.pass_time("PT4H")) == ["sent m-big/email", "lost m-small/email arbitration"]
    w = world(catalog)
    w.tell("go.big")
    w.tell("go.small", after="PT1H")
    assert sent(w.tell("stop.big", after="PT1H")) == ["sent m-small/email"]


def test_protect_looks_no_further_than_its_span(world, define):
    big = define.journey(
        "big",
        "go.big",
        ("rest", c.Wait(duration=Duration(0, 8 * 3_600_000))),
        ("say", define.send("m-big")),
        priority=90,
    )
    small = define.journey("small", "go.small", ("say", define.send("m-small")), priority=10)
    policy = define.policy(caps=ONE_A_DAY, protect=Duration(0, 6 * 3_600_000))
    w = world(define.catalog(big, small, policy=policy))
    w.tell("go.big")
    assert sent(w.tell("go.small", after="PT1H")) == ["sent m-small/email"]
