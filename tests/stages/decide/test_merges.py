"""Merges at the decide stage: one life out of two, nothing lost, nothing started by the past."""

from itertools import permutations

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Absorb, Event, Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.decide.state import Customer
from orchestrator.stages.protocol import Input
from tests.stages.decide.parts import sent


def merge(w, loser, winner, at=None):
    """Append the Merge and carry what the loser emits to the winner, as the log does."""
    record = Merge(merge_id=f"{loser}>{winner}", loser=loser, winner=winner, caused_by="x")
    before = len(w.emitted)
    lines = w.append(Input(key=loser, record=record), at)
    for emit in w.emitted[before:]:
        if emit.topic == "timeline":
            lines += w.append(Input(key=emit.key, record=emit.record), at)
    return lines


def waiting(define, name="j", re_entry="never", **more):
    return define.journey(
        name,
        c.EntryRule(on=("go",), re_entry=re_entry),
        ("rest", c.Wait(duration=Duration(2, 0))),
        ("say", define.send("m")),
        **more,
    )


def test_the_earlier_entry_stays_and_the_other_ends_merged(world, define, at):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    w.tell("go", after="PT1H")
    assert merge(w, "anon:1", "anna") == ["exited j merged"]
    (entry,) = w.state.entries
    assert entry.started == at("2026-03-02T10:00")
    assert sent(w.pass_time("P3D")) == ["sent m/email"]
    assert w.last("sent").customer_id == "anna"
    assert w.last("sent").decided_at == at("2026-03-04T10:00")


def test_a_wait_survives_the_merge(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    assert merge(w, "anon:1", "anna") == []
    assert sent(w.pass_time("P3D")) == ["sent m/email"]


def test_the_old_id_is_a_redirect(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("other.event", customer="anon:1")
    merge(w, "anon:1", "anna")
    before = len(w.emitted)
    event = Event(event_id="z", type="go", occurred_at=w.now, identities={}, source="s")
    w.append(Input(key="anon:1", record=event, raw=b"\x00raw", backfill=True))
    (emit,) = w.emitted[before:]
    assert (emit.topic, emit.key, emit.raw, emit.backfill) == ("timeline", "anna", b"\x00raw", True)
    assert w.harness.states["anon:1"].redirect == "anna"
    assert len(w.harness.stage.encode(w.harness.states["anon:1"])) < 60


def test_sends_unite_so_that_caps_and_repeat_hold(world, define):
    journeys = [define.journey(n, f"go.{n}", ("say", define.send(n))) for n in ("a", "b")]
    policy = define.policy(caps=(c.Cap(name="one", limit=1, per="day"),))
    w = world(define.catalog(*journeys, policy=policy))
    w.tell("customer.updated", customer="anon:1", email="anna@example.com")
    w.tell("go.a", customer="anon:1")
    merge(w, "anon:1", "anna")
    assert sent(w.tell("go.a")) == ["suppressed a/email already_sent"]
    assert sent(w.tell("go.b")) == ["deferred b/email cap"]


def test_the_same_merge_twice_is_one(world, define):
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="anon:1")
    merge(w, "anon:1", "anna")
    before = w.harness.stage.encode(w.state)
    absorb = next(e.record for e in w.emitted if isinstance(e.record, Absorb))
    assert w.append(Input(key="anna", record=absorb)) == []
    assert w.harness.stage.encode(w.state) == before


def test_traits_that_a_merge_changes_count_as_changes(world, define):
    entry = c.EntryRule(when=define.when('profile.plan == "paid"'))
    on_plan = define.journey("j", entry, ("say", define.send("hot", "sales")))
    ends = waiting(define, "k", exits=(define.pattern(when='profile.plan == "paid"'),))
    catalog = define.catalog(on_plan, ends, messages=[define.message("hot", class_="mandatory")])
    w = world(catalog)
    w.tell("go")
    w.tell("customer.updated", customer="anon:1", name="x")
    state = w.harness.states["anon:1"]
    w.tell("customer.updated", customer="anon:1", plan="paid")
    assert merge(w, "anon:1", "anna") == ["exited k exit"]
    assert "j" in state.past or w.state.past
    assert w.state.truths == {"j": True}


def test_a_merge_that_reaches_a_redirect_is_re_addressed(world, define):
    w = world(define.catalog())
    for customer in ("anon:1", "anon:2"):
        w.tell("x.done", customer=customer)
    merge(w, "anon:1", "anna")
    before = len(w.emitted)
    again = Merge(merge_id="m", loser="anon:1", winner="anon:2", caused_by="y")
    w.append(Input(key="anon:1", record=again))
    (emit,) = w.emitted[before:]
    assert (emit.key, emit.record.loser, emit.record.winner) == ("anon:2", "anon:2", "anna")


def test_crossing_merges_meet_at_the_smaller_id(world, define):
    """Each was sent into the other: both lives arrive, and only one id lives on."""
    w = world(define.catalog(waiting(define)))
    w.tell("go", customer="b")
    absorbs = []
    for loser, winner in (("anna", "b"), ("b", "anna")):
        before = len(w.emitted)
        w.append(
            Input(
                key=loser, record=Merge(merge_id=loser, loser=loser, winner=winner, caused_by="x")
            )
        )
        absorbs += w.emitted[before:]
    for _ in range(6):
        if not absorbs:
            break
        emit = absorbs.pop(0)
        before = len(w.emitted)
        w.append(Input(key=emit.key, record=emit.record))
        absorbs += [e for e in w.emitted[before:] if e.topic == "timeline"]
    assert not absorbs
    assert w.harness.states["anna"].redirect == ""
    assert w.harness.states["b"].redirect == "anna"
    assert [entry.journey for entry in w.state.entries] == ["j"]


def test_an_unknown_customer_is_refused(world, define):
    w = world(define.catalog())
    event = Event(
        event_id="r",
        type="message.opened",
        occurred_at=w.now,
        identities={"customer": "who"},
        source="s",
    )
    w.harness.append(Input(key="who", record=event), w.now)
    (letter,) = w.harness.dead_letters
    assert letter.cause == "unknown_customer"
    assert w.harness.states.get("who", Customer()).first_seen == 0


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize(
    "names", [("a", "b", "c"), ("anon:1", "b", "a"), ("anon:2", "anon:1", "c")]
)
def test_a_circle_of_merges_meets_at_its_first_in_rank(world, define, names, order):
    """Three crossed merges point round in a circle: all lives arrive at one, in every order."""
    w = world(define.catalog(waiting(define)))
    for name in names:
        w.tell("go", customer=name, id_=name)
    todo = []
    for number, name in enumerate(names):
        winner = names[(number + 1) % 3]
        record = Merge(merge_id=name, loser=name, winner=winner, caused_by="x")
        before = len(w.emitted)
        w.append(Input(key=name, record=record))
        todo += w.emitted[before:]
    todo = [todo[place] for place in order]
    for _ in range(20):
        if not todo:
            break
        emit = todo.pop(0)
        before = len(w.emitted)
        w.append(Input(key=emit.key, record=emit.record))
        todo += [one for one in w.emitted[before:] if one.topic == "timeline"]
    assert not todo
    states = w.harness.states
    (home,) = [name for name in names if not states[name].redirect]
    assert home == min(names, key=lambda name: (name.startswith("anon:"), name))
    assert states[home].profile.absorbed == tuple(sorted(names))
    assert len(states[home].entries) == 1


def test_a_wait_of_the_loser_follows_the_winners_traits(world, define, at):
    """What is new for the loser's entries is a change, although the winner knew it all along."""
    wait = c.Wait(until=define.ex("profile.name"), if_past="continue")
    catalog = define.catalog(define.journey("j", "go", ("rest", wait), ("say", define.send("m"))))
    w = world(catalog)
    w.tell("customer.updated", customer="anon:1", name="2026-03-09T10:00:00+01:00")
    w.tell("go", customer="anon:1")
    w.tell(
        "customer.updated", after="PT1H", name="2026-03-12T10:00:00+01:00", timezone="Asia/Tokyo"
    )
    merge(w, "anon:1", "anna")
    (entry,) = w.state.entries
    assert entry.wake == at("2026-03-12T10:00:00+01:00")
    assert entry.ends_at == at("2027-03-02T10:00+01:00")


def test_a_send_deferred_at_the_loser_leaves_from_the_winner(world, define, at):
    """The same entry, the same step, at the hour at which it was to be released."""
    night = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    catalog = define.catalog(journey, policy=define.policy(quiet_hours=(night,)))
    w = world(catalog, "2026-03-02T22:00")
    w.tell("go", customer="anon:1")
    entry = w.harness.states["anon:1"].entries[0].id
    assert merge(w, "anon:1", "anna") == []
    assert sent(w.pass_time("PT12H")) == ["sent m/inapp"]
    assert w.last("sent").decided_at == at("2026-03-03T08:00")
    assert (w.last("sent").entry_id, w.last("sent").customer_id) == (entry, "anna")


def test_of_two_deferred_sends_of_one_journey_one_is_cancelled(world, define):
    night = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    catalog = define.catalog(journey, policy=define.policy(quiet_hours=(night,)))
    w = world(catalog, "2026-03-02T22:00")
    w.tell("go", customer="anon:1")
    w.tell("go", after="PT1H")
    assert merge(w, "anon:1", "anna") == ["cancelled m/inapp merged", "exited j merged"]
    assert sent(w.pass_time("PT12H")) == ["sent m/inapp"]


def test_caps_used_on_both_sides_count_together(world, define, at):
    """Two of three slots on one side, one on the other: none is left until the oldest is free."""
    cap = c.Cap(name="three", limit=3, per="rolling", rolling=Duration(7, 0))
    names = ("a", "b", "x", "y")
    journeys = [define.journey(n, f"go.{n}", ("say", define.send(n, "inapp"))) for n in names]
    w = world(define.catalog(*journeys, policy=define.policy(caps=(cap,))))
    w.tell("go.a", customer="anon:1")
    w.tell("go.b", after="P1D", customer="anon:1")
    w.tell("go.x", after="P1D")
    merge(w, "anon:1", "anna")
    assert sent(w.tell("go.y")) == ["deferred y/inapp cap"]
    assert w.last("deferred").until == at("2026-03-09T10:00")
    assert sent(w.pass_time("P6D")) == ["sent y/inapp"]


def test_control_on_either_side_wins(world, define):
    """A merge draws nobody anew: who was held out stays so under the other's name."""
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    messages = [define.message("m", repeat="always")]
    policy = define.policy(holdout=c.Holdout(share=5_000, salt="s"))
    w = world(define.catalog(journey, policy=policy, messages=messages))
    names = [f"anon:{number}" for number in range(20)]
    for name in (*names, "anna"):
        w.tell("go", customer=name)
    held = {one.customer_id for one in w.decisions if one.outcome == "held_out"}
    assert "anna" not in held
    merge(w, next(name for name in names if name not in held), "anna")
    assert sent(w.tell("go")) == ["sent m/inapp"]
    merge(w, min(held), "anna")
    assert sent(w.tell("go")) == ["held_out m/inapp holdout"]


@pytest.mark.parametrize("hops", [["anna", "anna"], ["anon:2", "anna"]])
@pytest.mark.parametrize("first", [0, 1])
def test_a_late_goal_is_counted_after_two_merges(world, define, hops, first):
    """Whoever ends last: the longest window stays open, with its own entry, and counts once."""
    goal = c.Goal(
        pattern=define.pattern("bought.it"), within=Duration(30, 0), value=define.ex("entry.n")
    )
    rests = ("rest", c.Wait(duration=Duration(9, 0)))
    w = world(
        define.catalog(
            define.journey("short", "go", ("say", define.send("m", "sales")), goal=goal),
            define.journey("long", "go", rests, ("say", define.send("m", "sales")), goal=goal),
            messages=[define.message("m", class_="mandatory")],
        )
    )
    w.tell("go", customer="anna", n=0)
    w.tell("go", customer="anon:1", after="P1D", n=1)
    w.tell("go", customer="anon:2", after="P4D", n=2)
    w.pass_time("P10D")
    steps = [("anon:1", hops[0]), ("anon:2", hops[1])]
    for loser, winner in steps if first == 0 or hops[0] == "anon:2" else reversed(steps):
        merge(w, loser, winner)
    w.pass_time("P19D")  # the 34th day: the windows of the others are over
    assert w.tell("bought.it") == ["advanced long goal", "advanced short goal"]
    assert w.last("advanced").rule_values == {"value": 2, "after_end": True}
    assert w.tell("bought.it") == []


def test_an_earlier_goal_window_outlasts_a_later_end(world, define):
    """Who ended later began earlier: re-entry counts from the later end, the goal in the longer window."""
    goal = c.Goal(pattern=define.pattern("bought.it"), within=Duration(30, 0))
    rule = c.EntryRule(on=("go",), re_entry=Duration(20, 0))
    exits = (define.pattern("left.it"),)
    w = world(
        define.catalog(
            define.journey(
                "j", rule, ("rest", c.Wait(duration=Duration(25, 0))), goal=goal, exits=exits
            )
        )
    )
    w.tell("go", customer="anon:1")
    w.tell("go", after="P10D")
    w.tell("left.it", after="P1D")
    w.pass_time("P15D")  # anon:1 ends on the 25th day
    merge(w, "anon:1", "anna")
    assert w.tell("go", after="P8D") == ["nothing j re_entry"]  # the 34th: 20 days from the 25th on
    assert w.tell("bought.it", after="P4D") == ["advanced j goal"]  # the 38th of 40
