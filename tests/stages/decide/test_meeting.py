"""Rules that meet, where the language of workspace tests has no word for what is looked at."""

import pytest
from msgspec.structs import replace

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c

HEAT = c.Trait(name="heat", kind="score", type="double", scores={"page.viewed": 4.0}, half_life_ms=86_400_000)  # fmt: skip


def over_early(define, when, **more):
    """A journey that ends at once, and whose goal counts for a week."""
    goal = c.Goal(pattern=define.pattern(when=when), within=Duration(7, 0))
    return define.journey("j", "go", ("end", c.Stop()), goal=goal, **more)


def setter(define):
    put = c.SetTraits(values={"plan": define.ex('"paid"')})
    return define.journey("setter", "set", ("put", put))


@pytest.mark.parametrize("backfill", [False, True])
def test_a_goal_by_condition_counts_after_the_end_whatever_makes_it_true(world, define, backfill):
    """A step of another journey, or an event of the past; and it counts once."""
    w = world(define.catalog(over_early(define, 'profile.plan == "paid"'), setter(define)))
    w.tell("go")
    told = {"type_": "customer.updated", "plan": "paid", "backfill": True}
    lines = w.tell(**(told if backfill else {"type_": "set"}))
    assert [line for line in lines if line.endswith("goal")] == ["advanced j goal"]
    assert w.last("advanced").rule_values == {"after_end": True}
    assert w.tell("set") == ["entered setter", "exited setter completed"]


def test_a_goal_by_condition_counts_after_the_end_at_the_instant_that_time_brings(
    world, define, at
):
    """Also where nothing else happens at that instant."""
    journey = over_early(define, "profile.heat < 1.0")
    w = world(define.catalog(journey, traits=(HEAT,)))
    w.tell("page.viewed")
    w.tell("go")
    assert w.pass_time("P20D") == ["advanced j goal"]
    assert 0 <= w.last("advanced").decided_at - at("2026-03-04T10:00") <= 1
    assert w.state.due == 0


def test_a_goal_behind_its_window_is_not_waited_for(world, define):
    """A crossing later than the window wakes nobody."""
    journey = over_early(define, "profile.heat < 0.001")
    w = world(define.catalog(journey, traits=(HEAT,)))
    w.tell("page.viewed")
    w.tell("go")
    assert w.pass_time("P30D") == []


def test_a_hard_bounce_behind_a_soft_one_counts(world, define):
    """The address is unusable from then on; told once more, it is the same."""
    journey = define.journey("j", "go", ("say", define.send("m")))
    w = world(define.catalog(journey, messages=[define.message("m", repeat="always")]))
    w.tell("go")
    w.receipt("bounced")
    w.receipt("bounced", hard=True)
    assert "suppressed m/email no_address" in w.tell("go")
    before = w.state
    w.receipt("bounced", hard=True)
    seen = {"seen": b"", "seen_at": b""}
    assert replace(w.state.profile, **seen) == replace(before.profile, **seen)


def test_suppression_comes_before_missing_content(world, define):
    """In the order of the pipeline, also where a message has lost its text for the channel."""
    policy = define.policy(suppress=(c.Suppression(name="never", condition=define.ex("true")),))
    journey = define.journey("j", "go", ("say", define.send("m")))
    message = define.message("m", content={"push": {}})
    w = world(define.catalog(journey, messages=[message], policy=policy))
    assert "deferred m/email suppression" in w.tell("go")


def follows(define, *steps, version="j-1", **more):
    return define.journey("j", "go", *steps, in_flight="follow", version=version, **more)


def switched(define, old, new, *, known=True):
    versions = {one.version: one for one in (old, new)} if known else {}
    find = {"pinned": lambda _, version: versions.get(version)}
    return define.catalog(old, **find), define.catalog(new, hash="catalog-2", **find)


def listen(*patterns):
    return c.WaitFor(mode="best", patterns=patterns, timeout=Duration(5, 0), since="entry")


def test_follow_forgets_what_was_heard_for_patterns_that_are_gone(world, define):
    """A pattern that is gone, and a wait that is none any more, take their hits along."""
    shop = define.pattern("shop.visited", then="end")
    cart = define.pattern("cart.filled", then="end", if_="event.n == 1")
    old = follows(define, ("one", listen(shop, cart)), ("two", listen(shop)), ("end", c.Stop()))
    day = c.Wait(duration=Duration(1, 0))
    new = follows(
        define, ("one", listen(cart)), ("two", day), ("end", c.Stop()), version="j-2"
    )  # fmt: skip
    before, after = switched(define, old, new)
    w = world(before)
    w.tell("go")
    w.tell("shop.visited")
    w.tell("cart.filled", n=1)
    w.apply(after)
    assert [(hit.step, hit.pattern) for hit in w.state.entries[0].hits] == [("one", 0)]
    assert "advanced j" in w.pass_time("P6D")


def test_follow_from_a_version_that_is_lost_keeps_the_numbers_that_exist(world, define):
    """Nothing better is known; a number that the new definition has not is dropped."""
    shop, cart = define.pattern("shop.visited", then="end"), define.pattern("cart.filled")
    interrupts = tuple(define.pattern(word, then="one") for word in ("a.done", "b.done"))
    old = follows(
        define, ("one", listen(shop, cart)), ("end", c.Stop()), interrupts=interrupts
    )  # fmt: skip
    new = follows(
        define, ("one", listen(shop)), ("end", c.Stop()), interrupts=interrupts[:1], version="j-2"
    )  # fmt: skip
    before, after = switched(define, old, new, known=False)
    w = world(before)
    w.tell("go")
    w.tell("a.done")
    w.tell("b.done")
    w.tell("shop.visited")
    w.tell("cart.filled")
    w.apply(after)
    (entry,) = w.state.entries
    assert entry.interrupted == (0,)
    assert [(hit.step, hit.pattern) for hit in entry.hits] == [("one", 0)]


def test_follow_knows_a_pattern_of_a_renamed_send(world, define):
    """``of`` is followed through ``was``; of two that say the same, each keeps its place."""
    say = define.send("m", "inapp")

    def patterns(of):
        opened = define.pattern("message.opened", of=of, then="end")
        return listen(define.pattern("shop.visited"), opened, opened)

    old = follows(define, ("say", say), ("look", patterns("say")), ("end", c.Stop()))
    new = follows(
        define,
        ("greet", say, {"was": "say"}),
        ("look", listen(*patterns("greet").patterns[1:])),
        ("end", c.Stop()),
        version="j-2",
    )
    before, after = switched(define, old, new)
    w = world(before)
    w.tell("go")
    w.receipt("opened")
    w.apply(after)
    (entry,) = w.state.entries
    assert [hit.pattern for hit in entry.hits] == [0]
    assert (entry.after, w.state.sends[0].step) == ("greet", "greet")


def test_existing_whose_silence_ends_meanwhile_does_not_enter(world, define):
    """Who is heard of before his minute comes is no longer silent; a new silence begins."""
    rule = c.EntryRule(absence_of="page.viewed", absence_for=Duration(2, 0), existing=True)
    journey = define.journey("j", rule, ("end", c.Stop()))
    ask = define.journey("asks", "nowhere", ("end", c.Stop()))
    lasts = {"lasts": frozenset({"page.viewed"})}
    w = world(define.catalog(ask, **lasts))
    w.tell("page.viewed")
    w.pass_time("P5D")
    assert w.apply(define.catalog(journey, ask, **lasts)) == []
    assert list(w.state.scheduled) == ["j"]
    w.tell("page.viewed")
    assert not w.state.scheduled
    assert w.pass_time("P1D") == []
    assert w.pass_time("P1D") == ["entered j", "exited j stopped"]


def test_a_channel_that_is_gone_has_no_content(world, define):
    """An entry that is pinned may name a channel that the live policy has no more."""
    journey = define.journey("j", "go", ("say", define.send("m", "fax")))
    w = world(define.catalog(journey, messages=[define.message("m", content={"fax": {}})]))
    assert "suppressed m/fax no_content" in w.tell("go")


def test_the_events_that_one_record_derives_move_no_entry_beyond_32(world, define):
    """An interrupt that undoes its own cause again and again comes to rest where the count ends."""
    plan = define.ex('profile.plan == "paid" ? "free" : "paid"')
    journey = define.journey(
        "j",
        "go",
        ("rest", c.Wait(duration=Duration(9, 0))),
        ("flip", c.SetTraits(values={"plan": plan}), {"then": "rest"}),
        interrupts=(define.pattern("lifecycle.changed", then="flip", again=True),),
    )
    rules = (
        c.LifecycleRule(name="paying", condition=define.ex('profile.plan == "paid"')),
        c.LifecycleRule(name="new", condition=None),
    )
    w = world(define.catalog(journey, lifecycle=rules))
    w.tell("go")
    lines = w.tell("customer.updated", plan="paid")
    assert lines == ["advanced j interrupted"] * 32
    (entry,) = w.state.entries
    assert entry.passes["flip"] == 32
