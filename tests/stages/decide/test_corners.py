"""Corners of catalog switches, merges and releases that no story passes by."""

from dataclasses import replace

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.records import Merge
from orchestrator.stages import catalog as c
from orchestrator.stages.protocol import Input
from tests.stages.decide.parts import HEAT, NIGHT, sent


def follow(define, *steps, version="1", **more):
    return define.journey("j", "go", *steps, version=version, in_flight="follow", **more)


def both(define, first, second, **policy):
    known = {(j.name, j.version): j for j in (first, second)}
    policy = {"quiet_hours": (NIGHT,), **policy}
    return [
        define.catalog(
            journey,
            policy=define.policy(**policy),
            messages=[define.message("hot", class_="mandatory")],
            pinned=lambda name, version: known.get((name, version)),
        )
        for journey in (first, second)
    ]


def test_follow_out_of_a_deferred_send_that_is_deleted(world, define):
    """The deferred send is concluded, the entry goes on at the next step that survives."""
    old = follow(define, ("say", define.send("m")), ("hot", define.send("hot", "sales")))
    new = follow(define, ("hot", define.send("hot", "sales")), version="2")
    before, after = both(define, old, new)
    w = world(before, "2026-03-02T22:00")
    w.tell("go")
    assert sent(w.apply(after)) == ["cancelled m/email not_live", "sent hot/sales"]


def test_follow_where_a_send_became_a_wait_and_a_wait_became_a_send(world, define):
    send, wait = define.send("m"), c.Wait(duration=Duration(1, 0))
    old, new = follow(define, ("s", send)), follow(define, ("s", wait), version="2")
    before, after = both(define, old, new)
    w = world(before, "2026-03-02T22:00")
    w.tell("go")
    assert sent(w.apply(after)) == ["cancelled m/email not_live"]
    assert w.state.entries[0].wake > w.now
    old = follow(define, ("s", wait))
    new = follow(define, ("s", define.send("hot", "sales")), version="2")
    before, after = both(define, old, new)
    w = world(before)
    w.tell("go")
    assert sent(w.apply(after)) == ["sent hot/sales"]


def test_a_spread_move_hears_interrupts_and_no_waits(world, define):
    """Until it arrives, an entry on its way to another step is at no wait."""
    listen = c.WaitFor(
        mode="first",
        patterns=(define.pattern("x.done", then="hot"),),
        timeout=Duration(1, 0),
    )
    new = follow(
        define,
        ("listen", listen),
        ("end", c.Stop()),
        ("hot", define.send("hot", "sales")),
        version="2",
        interrupts=(define.pattern("y.done", then="hot"),),
    )
    old = follow(
        define,
        ("rest", c.Wait(duration=Duration(3, 0))),
        ("listen", listen),
        ("end", c.Stop()),
        ("hot", define.send("hot", "sales")),
    )
    before, after = both(define, old, new, spread_ms=600_000)
    w = world(before)
    w.tell("go")
    w.apply(after)
    assert w.state.entries[0].moving
    assert w.tell("x.done") == []
    assert sent(w.tell("y.done")) == ["sent hot/sales"]
    w = world(before)
    w.tell("go")
    w.apply(after)
    w.pass_time("PT10M")
    assert not w.state.entries[0].moving
    assert sent(w.tell("x.done")) == ["sent hot/sales"]


def test_follow_of_a_wait_for_and_of_a_shortened_life(world, define, at):
    def journey(days, life, version):
        wait = c.WaitFor(
            mode="first",
            patterns=(define.pattern("x.done", then=None),),
            timeout=Duration(days, 0),
        )
        return follow(define, ("w", wait), version=version, max_life=Duration(life, 0))

    before, after = both(define, journey(9, 99, "1"), journey(5, 99, "2"))
    w = world(before)
    w.tell("go")
    w.apply(after)
    assert w.state.entries[0].wake == at("2026-03-07T10:00")
    before, after = both(define, journey(9, 99, "1"), journey(9, 1, "2"))
    w = world(before)
    w.tell("go")
    w.pass_time("P2D")
    assert w.apply(after) == ["exited j max_life"]


def test_a_rename_carries_passes_and_hits(world, define):
    wait = c.WaitFor(
        mode="best",
        patterns=(define.pattern("x.done", then=None),),
        timeout=Duration(2, 0),
    )
    old = follow(define, ("w", wait))
    new = follow(define, ("listen", wait, {"was": "w"}), version="2")
    before, after = both(define, old, new)
    w = world(before)
    w.tell("go")
    w.tell("x.done")
    w.apply(after)
    (entry,) = w.state.entries
    assert entry.passes == {"listen": 1}
    assert [hit.step for hit in entry.hits] == ["listen"]


def test_a_lost_former_version_begins_anew(world, define):
    old = follow(define, ("rest", c.Wait(duration=Duration(3, 0))))
    new = follow(define, ("hot", define.send("hot", "sales")), version="2")
    messages = [define.message("hot", class_="mandatory")]
    w = world(define.catalog(old))
    w.tell("go")
    assert sent(w.apply(define.catalog(new, messages=messages))) == ["sent hot/sales"]


def test_a_retry_after_a_switch_says_nothing_new(world, define):
    """Deferred sends are looked at again, spread; the same block is recorded once."""
    journey = define.journey("j", "go", ("say", define.send("m")))
    policy = define.policy(quiet_hours=(NIGHT,), spread_ms=600_000)
    w = world(define.catalog(journey, policy=policy), "2026-03-02T22:00")
    w.tell("go")
    w.apply(define.catalog(journey, policy=policy))
    assert w.state.entries[0].pending.retry > w.now
    assert w.pass_time("PT1H") == []
    assert w.state.entries[0].pending.retry == 0
    open_ = define.policy(spread_ms=600_000)
    w.apply(define.catalog(journey, policy=open_))
    assert sent(w.pass_time("PT10M")) == ["sent m/email"]


def silence(define, days, **more):
    entry = c.EntryRule(absence_of="app.opened", absence_for=Duration(days, 0), **more)
    return define.journey("quiet", entry, ("hot", define.send("hot", "sales")))


@pytest.mark.parametrize(
    ("days", "existing", "due"),
    [(10, False, "2026-03-12T10:00"), (3, False, None), (3, True, "paced")],
)
def test_absence_of_a_new_journey_counts_from_the_last_known_event(
    world, define, at, days, existing, due
):
    messages = [define.message("hot", class_="mandatory")]
    asks = frozenset({"app.opened"})
    w = world(define.catalog(lasts=asks))
    w.tell("app.opened")
    w.pass_time("P5D")
    applied = w.now
    w.apply(define.catalog(silence(define, days, existing=existing), messages=messages, lasts=asks))
    lines = sent(w.pass_time("P30D"))
    assert lines == (["sent hot/sales"] if due else [])
    if due == "paced":
        assert applied < w.last("sent").decided_at <= applied + 3_600_001
    elif due:
        assert w.last("sent").decided_at == at(due)


def test_a_silence_under_way_gets_its_new_length(world, define, at):
    messages = [define.message("hot", class_="mandatory")]
    asks = frozenset({"app.opened"})
    first, longer, shorter = (
        define.catalog(silence(define, days), messages=messages, lasts=asks) for days in (7, 9, 1)
    )
    w = world(first)
    w.tell("app.opened")
    w.pass_time("P3D")
    w.apply(longer)
    assert w.state.absences == {"quiet": at("2026-03-11T10:00")}
    w.apply(shorter)
    assert w.now < w.state.absences["quiet"] <= w.now + 3_600_001
    w.apply(define.catalog(lasts=asks))
    assert w.state.absences == {}


def test_a_journey_that_goes_takes_its_schedule_along(world, define):
    entry = c.EntryRule(when=define.when('profile.plan == "paid"'), existing=True)
    journey = define.journey("j", entry, ("hot", define.send("hot", "sales")))
    w = world(define.catalog())
    w.tell("customer.updated", plan="paid")
    w.apply(define.catalog(journey, messages=[define.message("hot", class_="mandatory")]))
    assert w.state.scheduled
    w.apply(define.catalog())
    assert not w.state.scheduled
    assert not w.state.truths
    assert w.state.due == 0


def test_a_lifecycle_that_rules_change_is_recorded_and_conditions_act(world, define):
    ends = define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=Duration(3, 0))),
        exits=(define.pattern(when='profile.lifecycle == "vip"'),),
    )
    enters = define.journey("k", "lifecycle.changed", ("hot", define.send("hot", "sales")))
    rules = (c.LifecycleRule(name="vip", condition=None),)
    w = world(define.catalog(ends, enters))
    w.tell("go")
    assert w.apply(define.catalog(ends, enters, lifecycle=rules)) == ["exited j exit"]


def test_a_merge_into_itself_and_into_where_it_is_does_nothing(world, define):
    w = world(define.catalog())
    for winner in ("anna", "anna"):
        record = Merge(merge_id="m", loser="anna", winner=winner, caused_by="x")
        assert w.append(Input(key="anna", record=record)) == []
    assert not w.state.redirect


def test_revocation_leaves_internal_and_mandatory_alone(world, define):
    journey = define.journey(
        "j", "go", ("hot", define.send("hot", "sales")), ("must", define.send("must", "email"))
    )
    messages = [define.message("hot"), define.message("must", class_="mandatory")]
    w = world(define.catalog(journey, messages=messages), accept=False)
    w.tell("go")
    assert [a.message for a in w.actions] == ["hot", "must"]
    assert w.tell("consent.revoked") == []


def test_a_message_or_channel_that_is_gone_has_no_content(world, define):
    journey = define.journey(
        "j", "go", ("rest", c.Wait(duration=Duration(1, 0))), ("say", define.send("m"))
    )
    w = world(define.catalog(journey))
    w.tell("go")
    w.apply(define.catalog(journey, messages=[define.message("m", content={"push": {}})]))
    assert sent(w.pass_time("P2D")) == ["suppressed m/email no_content"]
    w.tell("go")
    w.apply(replace(define.catalog(journey), messages={}))
    assert sent(w.pass_time("P2D")) == ["suppressed m/email no_content"]


def test_a_send_whose_step_condition_is_false_is_recorded(world, define):
    journey = define.journey("j", "go", ("say", define.send("m"), {"if_": 'profile.plan == "x"'}))
    w = world(define.catalog(journey))
    assert sent(w.tell("go")) == ["suppressed m/email condition"]


def test_skipped_looks_through_branches_splits_and_choices(world, define):
    options = (c.Option(name="o", send=define.send("chosen", "inapp"), then="end"),)
    journey = define.journey(
        "j",
        "go",
        (
            "w",
            c.WaitFor(
                mode="first",
                patterns=(define.pattern("x.done", then="fork"),),
                timeout=Duration(1, 0),
            ),
        ),
        ("pick", c.Choose(decision="d", among=options), {"then": "end"}),
        (
            "fork",
            c.Split(
                arms=(
                    c.SplitArm(name="a", share=5000, then="say"),
                    c.SplitArm(name="b", share=5000, then=None),
                )
            ),
        ),
        ("mark", c.SetTraits(values={"plan": define.ex('"x"')})),
        (
            "ask",
            c.Branch(arms=(c.BranchArm(condition=define.ex("true"), then="say"),)),
            {"then": "end"},
        ),
        ("say", define.send("said")),
        ("end", c.Stop()),
        exits=(define.pattern("z.done"),),
    )
    w = world(define.catalog(journey))
    w.tell("go")
    w.tell("z.done")
    assert w.last("exited").rule_values == {"skipped": "said,chosen"}


def test_a_goal_that_holds_already_is_no_entry(world, define):
    goal = c.Goal(pattern=define.pattern(when='profile.plan == "paid"'))
    journey = define.journey("j", "go", ("rest", c.Wait(duration=Duration(1, 0))), goal=goal)
    w = world(define.catalog(journey))
    w.tell("customer.updated", plan="paid")
    assert w.tell("go") == ["nothing j exit_true"]
    assert w.last("nothing").rule == "goal"
    w.tell("customer.updated", plan="free")
    w.tell("go")
    assert w.tell("customer.updated", plan="paid") == ["exited j goal"]


def test_a_zone_change_moves_deadlines_lives_and_deferrals(world, define, at):
    wait = c.WaitFor(
        mode="first", patterns=(define.pattern("x.done", then=None),), timeout=Duration(30, 0)
    )
    say = define.journey("say", "go", ("say", define.send("m")))
    journey = define.journey("j", "go", ("w", wait))
    policy = define.policy(quiet_hours=(NIGHT,))
    w = world(define.catalog(journey, say, policy=policy), "2026-03-02T22:00")
    assert sent(w.tell("go")) == ["deferred m/email quiet_hours"]
    # New York is at 16:00: not quiet. Its clocks change on 8 March, Berlin's on the 29th.
    assert sent(w.tell("customer.updated", timezone="America/New_York")) == ["sent m/email"]
    assert w.state.entries[0].wake == at("2026-04-01T16:00-04:00")


def test_a_sum_in_a_template_and_a_set_in_words(world, define):
    content = {"inapp": {"list": define.ex('["a", "b"]')}}
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    w = world(define.catalog(journey, messages=[define.message("m", content=content)]))
    w.tell("go")
    assert w.actions[0].content == {"list": "a, b"}


def heat(define, **more):
    wait = more.pop("wait", c.Wait(duration=Duration(30, 0)))
    journey = define.journey(
        "j", "go", ("w", wait), ("end", c.Stop()), ("hot", define.send("hot", "sales")), **more
    )
    return define.catalog(
        journey, traits=(HEAT,), messages=[define.message("hot", class_="mandatory")]
    )


def test_an_exit_condition_fires_at_the_instant_at_which_a_score_has_decayed(world, define, at):
    w = world(heat(define, exits=(define.pattern(when="profile.heat < 1.0"),)))
    w.tell("page.viewed")
    w.tell("go")
    assert w.pass_time("P20D") == ["exited j exit"]
    assert 0 <= w.last("exited").decided_at - at("2026-03-05T10:00") <= 1


def test_a_goal_is_reached_at_the_instant_at_which_a_score_has_decayed(world, define, at):
    w = world(heat(define, goal=c.Goal(pattern=define.pattern(when="profile.heat < 1.0"))))
    w.tell("page.viewed")
    w.tell("go")
    assert w.pass_time("P20D") == ["exited j goal"]
    assert 0 <= w.last("exited").decided_at - at("2026-03-05T10:00") <= 1


def test_a_wait_for_a_condition_ends_at_the_instant(world, define, at):
    wait = c.WaitFor(
        mode="first",
        patterns=(define.pattern(when="profile.heat < 2.0", then="hot"),),
        timeout=Duration(20, 0),
    )
    w = world(heat(define, wait=wait))
    w.tell("page.viewed")
    w.tell("go")
    assert sent(w.pass_time("P20D")) == ["sent hot/sales"]
    assert 0 <= w.last("sent").decided_at - at("2026-03-04T10:00") <= 1


def test_a_date_that_vanishes_ends_a_strict_wait(world, define, at):
    trait = c.Trait(name="date", kind="plain", type="timestamp")
    wait = c.Wait(until=define.ex("profile.date"), plus=Duration(1, 0), if_past="exit")
    journey = define.journey("j", "go", ("w", wait))
    w = world(define.catalog(journey, traits=(trait,)))
    w.tell("customer.updated", date=at("2026-03-10T00:00"))
    w.tell("go")
    assert w.state.entries[0].wake == at("2026-03-11T00:00")
    assert w.tell("customer.updated", date=None) == ["exited j past_date"]


def test_a_choice_whose_options_are_all_held_back_waits_and_can_be_cancelled(world, define):
    options = (c.Option(name="o", send=define.send("m", "email")),)
    journey = define.journey(
        "j",
        "go",
        ("pick", c.Choose(decision="d", among=options)),
        exits=(define.pattern("z.done"),),
    )
    w = world(
        define.catalog(journey, policy=define.policy(quiet_hours=(NIGHT,))), "2026-03-02T22:00"
    )
    assert sent(w.tell("go")) == ["deferred m/email quiet_hours"]
    assert w.tell("z.done") == ["cancelled m/email exit", "exited j exit"]


def test_a_bounced_address_that_changes_wakes_a_channel_list(world, define):
    quiet = c.QuietHours(name="n", start=600, end=720, channels=frozenset({"push"}))
    rule = c.Suppression(
        name="s", condition=define.when('consent("push", "news")'), channels=frozenset({"inapp"})
    )
    journey = define.journey("j", "go", ("say", define.send("m", "email", "push", "inapp")))
    policy = define.policy(quiet_hours=(quiet,), suppress=(rule,))
    w = world(define.catalog(journey, policy=policy))
    w.tell("customer.updated", email=None)
    assert sent(w.tell("go")) == ["deferred m/email no_address"]
    assert sent(w.tell("consent.revoked", channel="push")) == ["sent m/inapp"]


def test_a_key_is_text_whatever_its_type(world, define):
    entry = c.EntryRule(on=("go",), key=define.ex("event.k"), re_entry="always")
    w = world(define.catalog(define.journey("j", entry, ("w", c.Wait(duration=Duration(1, 0))))))
    for key in (True, 1.5, "x", 7):
        w.tell("go", k=key)
    assert [one.key for one in w.state.entries] == ["true", "1.5", "x", "7"]


def test_a_value_that_is_no_number_counts_as_one(world, define):
    journeys = [
        define.journey("a", "go", ("say", define.send("ma")), value=define.ex('"much"')),
        define.journey("b", "go", ("say", define.send("mb")), value=define.ex("2.0")),
    ]
    w = world(define.catalog(*journeys))
    assert sent(w.tell("go")) == ["sent mb/email", "sent ma/email"]


def test_a_consent_condition_starts_an_entry(world, define):
    entry = c.EntryRule(when=define.when('consent("email", "offers")'))
    journey = define.journey("j", entry, ("hot", define.send("hot", "sales")))
    w = world(define.catalog(journey, messages=[define.message("hot", class_="mandatory")]))
    assert sent(w.tell("consent.granted", channel="email")) == ["sent hot/sales"]
