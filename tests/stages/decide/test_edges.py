"""Edges: definitions that are gone, keys that differ, receipts that come again, timers that meet."""

from dataclasses import replace

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Link, Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import merging
from orchestrator.stages.decide import state as states
from orchestrator.stages.decide.state import FLAGS, Customer, Past, encode
from orchestrator.stages.protocol import Input
from tests.stages.decide.parts import NIGHT, REST, absorbed, sent

# ------------------------------------------------------------------- definitions that are gone


def gone(define, w, journey):
    """Apply a new version, then forget the old one: as after a definition was pruned too early."""
    former = w.harness.catalog
    known = {one.version: one for one in former.journeys.values()}
    w.apply(
        define.catalog(
            journey,
            policy=former.policy,
            messages=former.messages.values(),
            pinned=lambda _, version: known.get(version),
            hash="new",
        )
    )
    known.clear()


@pytest.mark.parametrize("touch", ["event", "timer", "release", "change"])
def test_an_entry_whose_definition_is_gone_ends_when_it_is_touched(world, define, touch):
    """It never hangs, and it never stops its partition."""
    steps = [("say", define.send("m"))] if touch == "release" else [("rest", REST)]
    old = define.journey("j", "go", *steps)
    new = define.journey("j", "go", ("out", c.Stop()), version="2")
    quiet = define.policy(quiet_hours=(NIGHT,)) if touch == "release" else define.policy()
    w = world(define.catalog(old, policy=quiet), "2026-03-02T22:00")
    w.tell("go")
    gone(define, w, new)
    if touch == "event":
        assert "exited j not_live" in w.tell("go")
    elif touch == "change":
        assert w.tell("customer.updated", country="DE") == ["exited j not_live"]
    else:
        lines = w.pass_time("P3D")
        assert lines[-1] == "exited j not_live"
    assert w.state.entries == ()


def test_what_asks_for_a_gone_definition_gets_no_answer(world, define):
    """Zone changes, look-ahead and late goals pass an entry by whose definition is gone."""
    goal = c.Goal(pattern=define.pattern("order.paid"), within=Duration(30, 0))
    quiet = define.policy(quiet_hours=(NIGHT,))
    old = define.journey("j", "go", ("say", define.send("m")), goal=goal)
    out = define.journey("k", "bye", ("out", c.Stop()), goal=goal)
    new = define.journey("j", "go", ("out", c.Stop()), version="2")
    w = world(define.catalog(old, out, policy=quiet), "2026-03-02T22:00")
    w.tell("bye")
    w.tell("go")
    gone(define, w, new)
    state = w.state
    stage, catalog = w.harness.stage, w.harness.catalog
    assert stage.apply("anna", Customer(), _event("x"), w.now, catalog) == []
    assert state.past["k"].goal_until > w.now
    assert w.tell("order.paid") == ["cancelled j not_live", "exited j not_live"]


def _event(type_, **properties):
    from orchestrator.records import Event

    record = Event(
        event_id="direct", type=type_, occurred_at=1, identities={}, source="s", properties=properties
    )  # fmt: skip
    return Input(key="anna", record=record)


def test_a_life_from_another_partition_is_brought_to_this_catalog(world, define):
    """The loser's partition had not read the newest catalog yet: ``follow`` and absences move on."""
    old = define.journey("j", "go", ("rest", REST), in_flight="follow", version="1")
    new = define.journey("j", "go", ("brief", c.Stop()), in_flight="follow", version="2")
    known = {"1": old, "2": new}
    before = define.catalog(old, pinned=lambda _, version: known.get(version))
    after = define.catalog(new, pinned=lambda _, version: known.get(version))
    w = world(before)
    w.tell("go", customer="anon:9")
    life = states.decode(encode(w.harness.states["anon:9"]))
    life.absences = {"unheard-of": w.now + 1000}
    life.truths = {"j": True}
    w.apply(after)
    assert absorbed(w, life) == ["exited j completed"]
    assert w.state.truths == {"j": True}
    assert w.pass_time("PT1M") == []
    assert w.state.absences == {}


def test_the_same_action_in_two_lives_is_one(define):
    """Send history unites by action id, and receipts of both count."""
    from orchestrator.stages.decide.state import Sent

    def life(flag):
        sent = Sent(action=b"a" * 16, message="m", channel="email", category="c", at=1)
        sent.flags = FLAGS[flag]
        return Customer(sends=[sent], past={"j": Past(ended=3)}, absences={"k": 5}, ever={"m": 1})

    one, other = life("accepted"), life("opened")
    other.absences["k"] = 9
    other.scheduled = {"e": 7}
    merging.unite(one, other, "m", define.catalog())
    (both,) = one.sends
    assert both.flags == FLAGS["accepted"] | FLAGS["opened"]
    assert (one.absences, one.scheduled, one.ever) == ({"k": 9}, {"e": 7}, {"m": 1})


def test_a_merge_into_where_it_went_already_says_nothing(world, define):
    w = world(define.catalog())
    w.tell("x.done", customer="anon:1")
    for number in range(2):
        record = Merge(merge_id=str(number), loser="anon:1", winner="anna", caused_by="x")
        before = len(w.emitted)
        w.append(Input(key="anon:1", record=record))
        assert len(w.emitted) - before == 1 - number


def test_too_many_ended_entries_of_two_lives_are_trimmed(world, define):
    w = world(define.catalog())
    w.tell("x.done", customer="anon:9")
    life = w.harness.states.pop("anon:9")
    life.past = {f"old\x1f{number}": Past(ended=number + 1) for number in range(300)}
    absorbed(w, life)
    assert len(w.state.past) == 256
    assert min(one.ended for one in w.state.past.values()) == 45


def test_a_link_has_no_place_on_the_timeline(world, define):
    w = world(define.catalog())
    link = Link(a="a:1", b="b:1", customer_id="x", first_seen=1, caused_by="e")
    w.harness.append(Input(key="anna", record=link), w.now)
    assert [letter.cause for letter in w.harness.dead_letters] == ["bad_input"]


def test_a_new_catalog_leaves_a_merged_customer_alone(world, define):
    w = world(define.catalog())
    w.tell("x.done", customer="anon:1")
    w.append(Input(key="anon:1", record=Merge(merge_id="m", loser="anon:1", winner="anna", caused_by="x")))  # fmt: skip
    assert w.apply(define.catalog(hash="catalog-2")) == []
    assert w.harness.states["anon:1"] == Customer(redirect="anna", catalog=2)


# --------------------------------------------------------------------------------- give up


def test_what_raised_costs_its_entry_and_its_pending_send(world, define):
    quiet = define.policy(quiet_hours=(NIGHT,))
    w = world(define.catalog(define.journey("j", "go", ("say", define.send("m"))), policy=quiet), "2026-03-02T22:00")  # fmt: skip
    w.tell("go")
    state = w.state
    emits = w.harness.stage.give_up("anna", state, state.due, w.harness.catalog)
    assert [one.record.outcome for one in emits if one.topic == "decisions"] == ["cancelled", "exited"]  # fmt: skip
    assert (state.entries, state.due) == ((), 0)


# --------------------------------------------------------------------------------- keys


def keyed(define, **more):
    rule = c.EntryRule(on=("cart.left",), key=define.ex("event.id"), re_entry="always")
    return define.journey("cart", rule, ("rest", REST), ("say", define.send("m", "inapp")), **more)


def test_an_event_of_another_key_still_turns_conditions(world, define):
    """It is not this entry's event, but what it changed is this customer's."""
    exits = (define.pattern("cart.emptied"), define.pattern(when='profile.plan == "paid"'))
    plan = c.Trait(name="plan", kind="last", type="string", on=("cart.emptied",), take=define.ex("event.plan"))  # fmt: skip
    w = world(define.catalog(keyed(define, exits=exits), traits=(plan,)))
    w.tell("cart.left", id="a")
    assert w.tell("cart.emptied", id="b", plan="free") == []
    assert w.tell("cart.emptied", id="b", plan="paid") == ["exited cart exit"]
    w = world(define.catalog(keyed(define, exits=exits[:1])))
    w.tell("cart.left", id="a")
    assert w.tell("cart.emptied", id="b") == []


def test_a_late_goal_is_counted_once_and_for_its_own_key(world, define):
    """Not for another key, not while a new entry is live, not twice, not behind its window."""
    goal = c.Goal(
        pattern=define.pattern("order.paid", if_="event.sum > 10"), within=Duration(30, 0)
    )
    journey = replace(keyed(define, goal=goal), steps={"out": c.Step(id="out", do=c.Stop(), then=None)}, first="out")  # fmt: skip
    w = world(define.catalog(journey))
    w.tell("cart.left", id="a")
    assert w.tell("order.paid", id="b", sum=99) == []
    assert w.tell("order.paid", id="a", sum=1) == []
    assert w.tell("order.paid", id="a", sum=99) == ["advanced cart goal"]
    assert w.tell("order.paid", id="a", sum=99) == []
    w = world(define.catalog(keyed(define, goal=goal)))
    w.tell("cart.left", id="a")
    w.pass_time("P3D")
    w.tell("cart.left", id="a")
    assert w.tell("order.paid", id="a", sum=1) == []
    assert w.tell("order.paid", id="a", sum=99) == ["exited cart goal"]


# ----------------------------------------------------------------------------------- receipts


def test_receipts_that_come_again_or_for_nobody(world, define):
    w = world(define.catalog(define.journey("j", "go", ("say", define.send("m", "inapp")))))
    w.tell("go")
    for _ in range(2):
        assert w.receipt("opened") == []
    assert w.tell("message.opened", action_id="00" * 16) == []
    assert w.tell("message.opened", action_id="no hex") == []
    assert w.tell("message.opened", action_id=7) == []


def test_a_window_that_closed_for_an_earlier_pass_expires_it(world, define):
    """The entry stands behind the same send again: only its latest action can be taken back."""
    journey = define.journey(
        "j", "go", ("say", define.send("m", "inapp")), ("rest", REST, {"then": "say"})
    )
    w = world(
        define.catalog(journey, messages=[define.message("m", repeat="always")]), accept=False
    )
    w.tell("go")
    w.pass_time("P3D")
    first, second = (action for action in w.actions if action.kind == "send")
    assert w.receipt("dropped", first, reason="window") == ["expired m/inapp window"]
    assert sent(w.receipt("dropped", second, reason="window")) == ["sent m/inapp"]


def test_a_revocation_leaves_internal_and_mandatory_actions_alone(world, define):
    journeys = [
        define.journey("j", "go", ("hot", define.send("lead", "sales"))),
        define.journey("k", "go", ("law", define.send("law", "email"))),
        define.journey("l", "go", ("ad", define.send("ad", "email"))),
    ]
    messages = [define.message("law", class_="mandatory")]
    w = world(define.catalog(*journeys, messages=messages), accept=False)
    w.tell("go")
    assert w.tell("consent.revoked") == ["cancelled ad/email no_consent"]
    assert w.tell("consent.revoked", channel="email") == []


# ---------------------------------------------------------------------------- timers and waits


def test_a_release_and_a_wait_of_one_customer_keep_their_own_instants(world, define):
    """A deferred send that is not due yet stays where it is when another timer fires."""
    quiet = define.policy(quiet_hours=(NIGHT,))
    short = define.journey("short", "go", ("rest", c.Wait(duration=Duration(0, 3_600_000))))
    late = define.journey("late", "go", ("say", define.send("m")))
    w = world(define.catalog(short, late, policy=quiet), "2026-03-02T22:00")
    w.tell("go")
    assert w.pass_time("PT2H") == ["exited short completed"]
    assert sent(w.pass_time("PT12H")) == ["sent m/email"]


def test_since_entry_wins_at_once_on_arrival(world, define):
    """The first hit since the entry began, in the order in which they came."""
    wait = c.WaitFor(
        mode="first",
        patterns=(define.pattern("a.done", then="hot"), define.pattern("b.done", then="cold")),
        timeout=Duration(5, 0),
        since="entry",
    )
    journey = define.journey(
        "j", "go", ("rest", REST), ("listen", wait, {"then": None}),
        ("hot", c.Stop()), ("cold", define.send("m", "inapp"), {"then": None}),
    )  # fmt: skip
    w = world(define.catalog(journey))
    w.tell("go")
    w.tell("b.done")
    w.tell("a.done", after="PT1H")
    assert "sent m/inapp" in w.pass_time("P2D")


def test_setting_what_is_so_already_changes_nothing(world, define):
    """No exit, no entry, no lifecycle follows from it."""
    values = c.SetTraits(values={"plan": define.ex('"free"')})
    watching = c.EntryRule(when=define.when('profile.plan == "free"'), re_entry="always")
    w = world(
        define.catalog(
            define.journey("j", "go", ("set", values)),
            define.journey("free", watching, ("out", c.Stop())),
        )
    )
    assert "entered free" in w.tell("go")
    assert "entered free" not in w.tell("go")


def test_a_truth_is_kept_over_a_catalog_that_asks_the_same(world, define):
    """And forgotten when the journey asks no more."""
    rule = c.EntryRule(when=define.when('profile.plan == "paid"'), re_entry="always")
    journey = define.journey("paid", rule, ("out", c.Stop()))
    w = world(define.catalog(journey))
    w.tell("customer.updated", plan="paid")
    assert w.apply(define.catalog(journey, hash="2")) == []
    assert w.state.truths == {"paid": True}
    w.apply(define.catalog(hash="3"))
    assert w.state.truths == {}


def test_what_a_slot_or_word_cannot_change_wakes_no_send(world, define):
    """A send that waits for its address does not mind a trait that is not its address."""
    step = define.send("m", "push", on_block={"address": "defer"})
    w = world(define.catalog(define.journey("j", "go", ("say", step))))
    w.tell("customer.updated", push_token=None)
    assert sent(w.tell("go")) == ["deferred m/push no_address"]
    assert w.tell("customer.updated", country="DE") == []
    assert sent(w.tell("customer.updated", push_token="t-2")) == ["sent m/push"]


def test_a_zone_change_moves_waits_for_events_too(world, define, at):
    wait = c.WaitFor(mode="first", patterns=(define.pattern("x.done"),), timeout=Duration(1, 0))
    w = world(define.catalog(define.journey("j", "go", ("listen", wait))), "2026-03-28T10:00")
    w.tell("go")
    assert w.state.entries[0].wake == at("2026-03-29T10:00")
    w.tell("customer.updated", timezone="Asia/Tokyo")
    assert w.state.entries[0].wake == at("2026-03-28T10:00+01:00") + 86_400_000


# ------------------------------------------------------------------------------------ follow


def test_follow_passes_over_all_steps_that_are_gone(world, define):
    hot = define.send("hot", "inapp")
    old = define.journey("j", "go", ("a", REST), ("b", REST), ("c", REST), ("d", hot), in_flight="follow")  # fmt: skip
    new = define.journey("j", "go", ("d", hot), in_flight="follow", version="2")
    known = {"j-1": old, "2": new}
    find = {"pinned": lambda _, version: known.get(version)}
    w = world(define.catalog(old, **find))
    w.tell("go")
    assert "sent hot/inapp" in w.apply(define.catalog(new, **find))


def test_a_renamed_step_takes_its_history_along(world, define):
    """Passes and hits move; a step that has none, and a deferred send, stay as they are."""
    quiet = define.policy(quiet_hours=(NIGHT,))
    say, more = define.send("m"), define.send("n")
    old = define.journey("j", "go", ("say", say), ("more", more), in_flight="follow")
    steps = [("tell", say, {"was": "say"}), ("extra", more, {"was": "more"})]
    new = define.journey("j", "go", *steps, in_flight="follow", version="2")
    known = {"j-1": old, "2": new}
    find = {"pinned": lambda _, version: known.get(version), "policy": quiet}
    w = world(define.catalog(old, **find), "2026-03-02T22:00")
    w.tell("go")
    assert w.apply(define.catalog(new, **find)) == []
    (entry,) = w.state.entries
    assert (entry.step, entry.passes) == ("tell", {"tell": 1})
    assert sent(w.pass_time("PT12H")) == ["sent m/email", "sent n/email"]


# ---------------------------------------------------------------------------------- existing


@pytest.mark.parametrize(("between", "enters"), [("stopped", True), ("draining", True), ("paused", False)])  # fmt: skip
def test_existing_customers_enter_when_a_journey_goes_live_again(world, define, between, enters):
    """A stop ended all entries: going live is a beginning. A pause only held it."""
    rule = c.EntryRule(when=define.when('profile.plan == "paid"'), re_entry="always", existing=True)
    silent = c.EntryRule(absence_of="app.opened", absence_for=Duration(3, 0), existing=True, re_entry="always")  # fmt: skip
    journeys = [define.journey("paid", rule, ("out", c.Stop())), define.journey("away", silent, ("out", c.Stop()))]  # fmt: skip
    lasts = frozenset({"app.opened"})
    status = {"paid": between, "away": between}
    held = define.catalog(*journeys, status=status, lasts=lasts, hash="held")
    w = world(define.catalog(*journeys, lasts=lasts))
    w.tell("app.opened")
    w.tell("customer.updated", plan="paid")
    w.apply(held)
    w.pass_time("P9D")
    w.apply(define.catalog(*journeys, lasts=lasts, hash="live"))
    lines = w.pass_time("PT2H")
    entered = {line for line in lines if line.startswith("entered")}
    assert entered == ({"entered paid", "entered away"} if enters else set())


def test_a_silence_that_is_over_starts_nobody_without_existing(world, define):
    silent = c.EntryRule(absence_of="app.opened", absence_for=Duration(3, 0))
    lasts = frozenset({"app.opened"})
    w = world(define.catalog(lasts=lasts))
    w.tell("app.opened")
    w.pass_time("P9D")
    w.apply(define.catalog(define.journey("away", silent, ("out", c.Stop())), lasts=lasts))
    assert w.pass_time("P9D") == []


# ----------------------------------------------------------------------------------- protect


def test_protect_looks_at_shared_caps_and_scheduled_sends_alone(world, define):
    """Not at other channels, lower priorities, later sends, or waits behind which none stands.

    Of several caps the one that holds longest is the rule.
    """
    rolling = {"per": "rolling", "rolling": Duration(3, 0)}
    caps = (
        c.Cap(name="push", limit=1, channels=frozenset({"push"}), **rolling),
        c.Cap(name="day", limit=1, per="day"),
        c.Cap(name="three", limit=1, **rolling),
        c.Cap(name="wide", limit=9, **rolling),
        c.Cap(name="other", limit=1, message="high", **rolling),
    )
    policy = define.policy(caps=caps, protect=Duration(2, 0))
    day, week = c.Wait(duration=Duration(1, 0)), c.Wait(duration=Duration(7, 0))
    say = define.send("high", "inapp")
    journeys = [
        define.journey("high", "go.high", ("rest", day), ("say", say), priority=90),
        define.journey("later", "go.later", ("rest", week), ("say", say), priority=90),
        define.journey("idle", "go.idle", ("rest", day), ("set", c.Stop()), priority=90),
        define.journey("last", "go.last", ("rest", day), priority=90),
        define.journey("weak", "go.weak", ("rest", day), ("say", define.send("weak", "inapp")), priority=5),
        define.journey("low", "go.low", ("say", define.send("low", "inapp")), priority=10),
    ]  # fmt: skip
    w = world(define.catalog(*journeys, policy=policy))
    for name in ("later", "idle", "last", "weak"):
        w.tell(f"go.{name}")
    assert sent(w.tell("go.low")) == ["sent low/inapp"]
    w = world(define.catalog(*journeys, policy=policy))
    w.tell("go.high")
    assert sent(w.tell("go.low")) == ["deferred low/inapp protected"]
    assert w.last("deferred").rule == "three"


def test_of_several_options_each_has_its_own_expiry(world, define):
    """One option is too old by now, the other is not."""
    quiet = define.policy(quiet_hours=(NIGHT,))
    messages = [
        define.message("brief", expires=Duration(0, 3_600_000)),
        define.message("lasting", expires=Duration(3, 0)),
    ]
    options = tuple(c.Option(name=name, send=define.send(name, "email")) for name in ("brief", "lasting"))  # fmt: skip
    step = ("pick", c.Choose(decision="d", among=options))
    w = world(define.catalog(define.journey("j", "go", step), policy=quiet, messages=messages), "2026-03-02T22:00")  # fmt: skip
    assert sent(w.tell("go")) == ["deferred brief/email quiet_hours"]
    assert sent(w.pass_time("PT12H")) == ["sent lasting/email"]
    blocked = [(one.name, one.reason) for one in w.last("sent").candidates]
    assert blocked[0] == ("brief/email", "expired")


def test_a_choice_that_is_left_names_its_first_option(world, define):
    quiet = define.policy(quiet_hours=(NIGHT,))
    options = tuple(c.Option(name=name, send=define.send(name, "email")) for name in ("x", "y"))
    journey = define.journey("j", "go", ("pick", c.Choose(decision="d", among=options)), exits=(define.pattern("bye"),))  # fmt: skip
    w = world(define.catalog(journey, policy=quiet), "2026-03-02T22:00")
    w.tell("go")
    assert w.tell("bye") == ["cancelled x/email exit", "exited j exit"]


def test_a_choice_that_waits_names_the_option_that_may_still_be_taken(world, define):
    """The first is not meant for them: what is recorded, and cancelled, is the one that waits."""
    quiet = define.policy(quiet_hours=(NIGHT,))
    options = (
        c.Option(name="x", send=define.send("x", "email"), condition=define.ex('profile.plan == "z"')),
        c.Option(name="y", send=define.send("y", "email")),
    )  # fmt: skip
    journey = define.journey("j", "go", ("pick", c.Choose(decision="d", among=options)), exits=(define.pattern("bye"),))  # fmt: skip
    w = world(define.catalog(journey, policy=quiet), "2026-03-02T22:00")
    assert sent(w.tell("go")) == ["deferred y/email quiet_hours"]
    assert [one.name for one in w.last("deferred").candidates] == ["x/email", "y/email"]
    assert w.tell("bye") == ["cancelled y/email exit", "exited j exit"]
    w.tell("go")
    assert sent(w.pass_time("PT12H")) == ["sent y/email"]
