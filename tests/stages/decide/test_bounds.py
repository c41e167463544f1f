"""Bounds of a customer's state: what is kept, for how long, and what gives way first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.records import Event
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import bounds, entries, history, trimming
from orchestrator.stages.decide.state import (
    Customer,
    Entry,
    Hit,
    Past,
    Sent,
    Statement,
    TraitState,
    encode,
)
from orchestrator.stages.decide.traits import sight
from orchestrator.stages.protocol import Input

DAY = 86_400_000
NOW = 1_772_000_000_000


def sends(count, *, every=DAY, **more):
    """``count`` sends, the newest at NOW."""
    return [
        Sent(
            action=number.to_bytes(16, "big"),
            message="m",
            channel="email",
            category="news",
            at=NOW - (count - 1 - number) * every,
            entry=number.to_bytes(16, "big"),
            **{"step": "say", "journey": "j", **more},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("policy", "repeat", "more", "kept"),
    [
        ({}, "never", {}, 64),
        ({"caps": (c.Cap(name="x", limit=900, per="rolling", rolling=Duration(500, 0)),)}, "always", {}, 502),
        ({"caps": (c.Cap(name="x", limit=900, per="rolling", rolling=Duration(500, 0)),)}, "always", {"counts": False}, 64),
        ({"caps": (c.Cap(name="x", limit=9, per="month", message="other"),)}, "always", {}, 64),
        ({"caps": (c.Cap(name="x", limit=9, per="rolling", rolling=Duration(500, 0)),)}, "always", {}, 73),
        ({"caps": (c.Cap(name="x", limit=9, per="rolling", rolling=Duration(500, 0)),)}, "always", {"flags": 1 << 7}, 64),
        ({"gap": {"email": Duration(100, 0)}}, "always", {}, 64),
        ({"gap": {"push": Duration(100, 0)}}, "always", {}, 64),
        ({}, Duration(200, 0), {}, 64),
        ({}, Duration(200, 0), {"flags": 1 << 7}, 64),
    ],
)  # fmt: skip
def test_sends_are_kept_as_long_as_a_rule_counts_them(define, policy, repeat, more, kept):
    """A cap of 900 in 500 days has its 500 days, one of 9 its 9 and 64 that may come back."""
    catalog = define.catalog(
        policy=define.policy(**policy), messages=[define.message("m", repeat=repeat)]
    )
    customer = Customer(sends=sends(600, **more))
    history.trim(customer, NOW, catalog)
    assert len(customer.sends) == kept
    assert customer.sends[-1].at == NOW
    forgotten = {} if more.get("flags") else {"m": NOW - kept * DAY}
    assert customer.ever == forgotten


def test_the_latest_send_of_a_live_step_outlasts_all(world, define):
    """``opened("say")`` is asked months later, after a hundred other messages."""
    catalog = define.catalog(
        define.journey("long", "go.long", ("say", define.send("first", "inapp")), ("rest", c.Wait(duration=Duration(300, 0)))),
        define.journey("other", "go", ("n", define.send("n", "inapp"))),
        messages=[define.message("n", repeat="always")],
    )  # fmt: skip
    w = world(catalog)
    w.tell("go.long")
    for _ in range(100):
        w.tell("go", after="P1D")
    assert len(w.state.sends) == 65
    assert w.state.sends[0].message == "first"


def test_a_cap_beyond_four_hundred_binds(world, define):
    """Exactness first: the 451st of 450 in a year is deferred."""
    cap = c.Cap(name="year", limit=450, per="rolling", rolling=Duration(365, 0))
    message = define.message("m", repeat="always")
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    w = world(define.catalog(journey, policy=define.policy(caps=(cap,)), messages=[message]))
    w.harness.states["anna"].sends = [
        one
        for one in sends(449, every=DAY // 2)
        if setattr(one, "at", one.at + w.now - NOW) is None
    ]
    assert "sent m/inapp" in w.tell("go")
    assert "deferred m/inapp cap" in w.tell("go")
    assert w.last("deferred").rule_values == {"used": 450, "limit": 450}


# -------------------------------------------------------------------------------- live entries


def keyed(define, **more):
    rule = c.EntryRule(on=("cart.left",), key=define.ex("event.id"), re_entry="always")
    return define.journey(
        "cart",
        rule,
        ("rest", c.Wait(duration=Duration(20, 0))),
        ("say", define.send("m", "inapp")),
        **more,
    )


def test_live_keyed_entries_are_bounded(world, define):
    """A key may have any values: one entry too many is refused, and the decision says so."""
    w = world(define.catalog(keyed(define)))
    for number in range(entries.MAX_LIVE):
        assert w.tell("cart.left", id=number) == ["entered cart"]
    assert w.tell("cart.left", id=-1) == ["nothing cart already_live"]
    assert w.last("nothing").rule == "at most 100 live entries"
    assert len(w.state.entries) == entries.MAX_LIVE
    assert len(encode(w.state)) < 32_768


def test_what_entries_hold_of_events_is_bounded_together(world, define):
    """Each at most 4 KB, all at most 32 KB; the last ones hold what fits."""
    w = world(define.catalog(keyed(define)))
    for number in range(20):
        w.tell("cart.left", id=number, note="x" * 3_900)
    held = [bounds.size(entry.entry) for entry in w.state.entries]
    assert max(held) <= bounds.CONTEXT_BYTES
    assert sum(held) <= bounds.ALL_CONTEXTS_BYTES
    assert "note" in w.state.entries[0].entry
    assert list(w.state.entries[-1].entry) == ["id"]
    assert len(encode(w.state)) < trimming.MOST_BYTES


def test_what_ended_entries_hold_gives_way_first(world, define):
    """A late goal of an old entry is then counted without the event that began it."""
    goal = c.Goal(
        pattern=define.pattern("cart.bought"),
        within=Duration(300, 0),
        value=define.ex("entry.total"),
    )
    w = world(define.catalog(keyed(define, goal=goal)))
    for number in range(12):
        w.tell("cart.left", after="PT1H", id=number, total=number, note="x" * 3_900)
        w.pass_time("P21D") if number == 6 else None
    past = w.state.past
    assert [bool(past[key].entry) for key in sorted(past)] == [False] * 4 + [True] * 3
    assert len(w.state.entries) == 5
    assert all("note" in entry.entry for entry in w.state.entries)
    w.tell("cart.bought", id=0)
    assert w.last("advanced").rule_values == {"value": None, "after_end": True}
    w.tell("cart.bought", id=6)
    assert w.last("advanced").rule_values == {"value": 6, "after_end": True}


@pytest.mark.parametrize(("re_entry", "left"), [("never", 256), ("always", 0), (Duration(5, 0), 6)])
def test_ended_entries_are_forgotten_when_they_decide_nothing(world, define, re_entry, left):
    """At most 256 keys; first those go that would let the customer in again anyway."""
    rule = c.EntryRule(on=("cart.left",), key=define.ex("event.id"), re_entry=re_entry)
    w = world(define.catalog(define.journey("cart", rule, ("out", c.Stop()))))
    for number in range(251):
        w.tell("cart.left", id=number)
    w.pass_time("P6D")
    for number in range(6):
        w.tell("cart.left", id=1000 + number)
    assert len(w.state.past) == left
    for number in range(4 if left == 256 else 0):
        w.tell("cart.left", id=2000 + number)
    assert len(w.state.past) == left


# ------------------------------------------------------------------------------------ trimming


def large(**more):
    """A customer of about 70 KB: long names in its sends, and counters."""
    hits = list(range(NOW - 256, NOW))
    return Customer(
        sends=sends(64, journey="j" * 600),
        profile=c_profile(**more),
        past={f"j\x1f{number}": Past(ended=NOW) for number in range(100)},
        truths={f"w{hit}": True for hit in hits},
    )


def c_profile(**more):
    from orchestrator.stages.decide.state import Profile

    hits = list(range(NOW - 256, NOW))
    traits = {f"t{n}": TraitState(hits=hits, amounts=[1.5] * 256) for n in range(6)}
    return Profile(
        traits=traits,
        consent=((Statement("email", "news", True, NOW),),),
        seen=bytes(8 * 1000),
        seen_at=bytes(6 * 1000),
        **more,
    )


def test_a_state_beyond_64_kb_gives_up_history_and_nothing_else(define):
    """Oldest sends first, by halves; what was sent ever is known all the same."""
    catalog = define.catalog(messages=[define.message("m")])
    customer = large()
    before = encode(customer)
    assert len(before) > trimming.MOST_BYTES
    trimming.hold(customer, NOW, catalog)
    assert len(encode(customer)) <= trimming.MOST_BYTES
    assert len(customer.sends) == 16
    assert customer.ever == {"m": NOW - 16 * DAY}
    again = large()
    assert customer.profile == again.profile
    assert customer.past == again.past
    trimming.hold(customer, NOW, catalog)
    assert len(customer.sends) == 16


def test_what_a_cap_counts_is_never_trimmed(define):
    """Then the memory of event ids gives way, down to 32."""
    cap = c.Cap(name="x", limit=100, per="rolling", rolling=Duration(90, 0))
    catalog = define.catalog(policy=define.policy(caps=(cap,)), messages=[define.message("m")])
    customer = large()
    trimming.hold(customer, NOW, catalog)
    assert len(customer.sends) == 64
    assert len(customer.profile.seen) == 8 * 32
    assert len(customer.profile.seen_at) == 6 * 32


def test_a_small_state_is_left_alone(define):
    customer = Customer(sends=sends(64))
    trimming.hold(customer, NOW, define.catalog())
    assert len(customer.sends) == 64


def test_ten_thousand_events_of_one_customer(world, define):
    """Traits of every kind, sends, receipts and keyed entries for three years: figures that hold."""
    spent = c.Trait(
        name="spent",
        kind="sum",
        type="double",
        on=("item.bought",),
        take=define.ex("event.price"),
        window_ms=30 * DAY,
    )
    heat = c.Trait(
        name="heat", kind="score", type="double", scores={"page.viewed": 1.0}, half_life_ms=7 * DAY
    )
    skus = c.Trait(
        name="skus", kind="set", type="string", on=("item.bought",), take=define.ex("event.sku")
    )
    kinds = (spent, heat, skus)  # fmt: skip
    say = define.journey("news", "page.viewed", ("say", define.send("n", "inapp")))
    caps = (c.Cap(name="week", limit=3, per="week"),)
    catalog = define.catalog(
        keyed(define), say, traits=kinds, policy=define.policy(caps=caps),
        messages=[define.message("n", repeat="always"), define.message("m", repeat="always")],
    )  # fmt: skip
    w = world(catalog)
    stage, state, now = w.harness.stage, w.state, w.now
    for number in range(10_000):
        now += 9_000_000
        if 0 < state.due <= now:
            stage.fire("anna", state, now, catalog)
        type_ = ("page.viewed", "item.bought", "cart.left", "mail.read")[number % 4]
        event = Event(
            event_id=f"e{number}", type=type_, occurred_at=now, identities={}, source="test",
            properties={"price": number % 100 + 0.5, "sku": f"sku-{number % 300}", "id": number % 40},
        )  # fmt: skip
        stage.apply("anna", state, Input(key="anna", record=event), now, catalog)
    size = len(encode(state))
    assert size < 24_576, size


# ----------------------------------------------------------------------------- whatever arrives


def greedy(define):
    """Every kind of trait, keyed entries with goals, caps that count what does not obey them."""
    on, take = ("item.bought",), define.ex("event.sku")
    kinds = [
        c.Trait(name="texts", kind="set", type="string", on=on, take=take, limit=256),
        c.Trait(name="open", kind="up", type="long", on=on, down="item.sold", by=take),
        c.Trait(name="latest", kind="last", type="string", on=on, take=take),
        c.Trait(name="first", kind="first", type="string", on=on, take=take),
        c.Trait(name="least", kind="min", type="string", on=on, take=take),
    ]
    kinds += [
        c.Trait(name=f"sum{n}", kind="sum", type="double", on=on, take=define.ex("event.price"), window_ms=(n + 1) * 30 * DAY)
        for n in range(6)
    ]  # fmt: skip
    goal = c.Goal(
        pattern=define.pattern("cart.bought"), within=Duration(300, 0), value=define.ex("entry.id")
    )
    caps = (c.Cap(name="month", limit=10, per="month"),)
    say = define.journey("say", "item.bought", ("say", define.send("order", "inapp")))
    order = define.message("order", class_="transactional", counts_to_caps=True)
    return define.catalog(
        keyed(define, goal=goal), say, traits=tuple(kinds), messages=[order, "m"],
        policy=define.policy(caps=caps), lasts=frozenset({"item.bought"}),
        counts=frozenset({("item.bought", 30 * DAY), ("item.bought", 300 * DAY)}),
    )  # fmt: skip


def test_whoever_sends_whatever_the_state_stays_small(world, define):
    """Long texts, endless keys and ids, consent for channels without end, orders by the thousand."""
    w = world(greedy(define))
    stage, state, catalog, now = w.harness.stage, w.state, w.harness.catalog, w.now
    sizes = []
    for number in range(3_000):
        now += 120_000
        text = f"{number:05}" + "ü" * (number * 37 % 700)
        type_, properties = (
            ("item.bought", {"sku": text, "price": number + 0.5}),
            ("cart.left", {"id": text, "note": "x" * 9_000}),
            ("consent.granted", {"channel": f"c{number}", "category": "news"}),
            ("consent.revoked", {"channel": f"r{number}"}),
            ("customer.updated", {"name": text, "email": "x" * 40_000, "country": text}),
            ("message.bounced", {"hard": True, "channel": f"b{number}", "address": text}),
        )[number % 6]
        event = Event(
            event_id=f"{number}" * 500, type=type_, occurred_at=now, identities={}, source="test",
            properties=properties,
        )  # fmt: skip
        if 0 < state.due <= now:
            stage.fire("anna", state, now, catalog)
        stage.apply("anna", state, Input(key="anna", record=event), now, catalog)
        if number % 100 == 0:
            sizes.append(len(encode(state)))
    assert max(sizes) < 1.1 * trimming.MOST_BYTES, max(sizes)
    assert len(state.entries) == entries.MAX_LIVE
    assert len(state.profile.traits["open"].open) > 10


def test_a_text_beyond_a_kilobyte_is_no_value_for_a_trait(world, define):
    """Plain, computed, in a set, as an open value: what was known stays."""
    w = world(greedy(define))
    for size in (1_024, 1_025):
        text = "x" * size
        w.tell("customer.updated", name=text)
        w.tell("item.bought", sku=text)
    traits = w.state.profile.traits
    assert traits["name"].value == traits["latest"].value == "x" * 1_024
    assert traits["texts"].open == traits["open"].open == ("x" * 1_024,)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300)), max_size=150), st.data())
@settings(max_examples=60, deadline=None)
def test_distinct_values_keep_the_newest_by_number_and_bytes(seen, data):
    """In any order of arrival the same ones stay: the newest, 256 and 16 KB at most."""
    events = [(f"{name}" + "x" * (name * 17), at) for name, at in seen]
    left = []
    for order in (events, data.draw(st.permutations(events))):
        state = TraitState()
        for value, at in order:
            sight(state, value, at, 40)
        left.append((state.open, state.hits))
        assert len(state.open) <= 40
        assert sum(map(len, state.open)) <= bounds.DISTINCT_BYTES
    assert left[0] == left[1]


@pytest.mark.parametrize("name", ["short", "ü" * 48, "x" * 96])
def test_names_that_fit_are_kept_as_they_are(name):
    assert bounds.short(name) == name


def test_long_names_stay_apart():
    """A long key or event id is kept as its beginning and its digest."""
    kept = {bounds.short("x" * 4_000 + str(number)) for number in range(50)}
    assert len(kept) == 50
    assert all(len(one) == 96 for one in kept)
    assert len(bounds.short("ü" * 60).encode()) <= bounds.NAME_BYTES


def test_what_gives_way_after_ids(define):
    """Ended entries beyond 64 (not those whose goal is counted), dead traits, hits, sets, contexts."""
    window = c.Trait(name="w", kind="count", type="long", on=("x",), window_ms=300 * DAY)
    values = c.Trait(name="s", kind="set", type="string", on=("x",), limit=256)
    catalog = define.catalog(traits=(window, values), counts=frozenset({("x", 300 * DAY)}))
    hits = list(range(NOW - 256, NOW))
    customer = Customer(
        profile=c_profile(),
        past={f"j\x1f{n}": Past(ended=n, goal_until=NOW + 1 if n < 3 else 0) for n in range(100)},
        entries=[
            Entry(id=f"{n:032}", journey="j", version="v", started=n, cause="", step="s", wake=1,
                  entry={"x": "y" * 2_000}, latest={"x": "y" * 2_000} if n else None,
                  hits=[Hit(step="s", pattern=0, at=1, properties={"x": "y" * 500})])
            for n in range(24)
        ],
    )  # fmt: skip
    traits = customer.profile.traits
    traits["w"], traits[f"#x/{300 * DAY}"] = TraitState(hits=hits[:]), TraitState(hits=hits[:])
    traits["s"] = TraitState(open=[f"{n:040}" for n in range(256)], hits=hits[:])
    trimming.hold(customer, NOW, catalog)
    assert len(encode(customer)) <= trimming.MOST_BYTES
    assert sorted(int(key[2:]) for key in customer.past) == [0, 1, 2, *range(36, 100)]
    assert "t0" not in traits
    assert len(traits["w"].hits) == len(traits[f"#x/{300 * DAY}"].hits) == 32
    assert sum(traits["w"].older_amounts) == 224
    assert traits["s"].open == [f"{n:040}" for n in range(256 - 51, 256)]
    assert customer.entries[0].entry == {}
    assert customer.entries[-1].entry


def test_counters_are_never_trimmed(define):
    """What is open is counted, and nothing but the engine's guard stops it."""
    names = [f"o{number}" for number in range(6)]
    traits = tuple(
        c.Trait(name=name, kind="up", type="long", on=("x",), by=define.ex("event.id"))
        for name in names
    )
    values = [f"{number:060}" for number in range(256)]
    customer = Customer(sends=sends(65), entries=[Entry("0" * 32, "j", "v", 1, "", "s", wake=1)])
    for name in names:
        customer.profile.traits[name] = TraitState(open=values[:], hits=list(range(256)))
    trimming.hold(customer, NOW, define.catalog(traits=traits))
    assert all(len(customer.profile.traits[name].open) == 256 for name in names)
