"""One customer's world: what expressions read, and the exact instant at which time changes it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.expressions import ANYTHING, Environment, Scope, compile_expression
from orchestrator.records import Event
from orchestrator.stages.catalog import Catalog, Channel, Policy, Trait
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.state import FLAGS, Customer, Entry, Sent, Statement, TraitState
from orchestrator.stages.decide.trait_values import COMPARE
from orchestrator.stages.decide.windows import EXACT, add_hit

NOW = 1_780_308_000_000  # 2026-06-01T10:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
SCORE = Trait(name="score", kind="score", type="double", scores={"x.x": 1.0}, half_life_ms=DAY)
COUNT = Trait(name="count", kind="count", type="long", on=("x.x",), window_ms=DAY)
SUM = Trait(name="sum", kind="sum", type="double", on=("x.x",), window_ms=DAY)


def scope_of(customer: Customer | None = None, **catalog) -> CustomerScope:
    return CustomerScope("c", customer or Customer(), Catalog(**catalog), NOW)


def traits(*declared: Trait) -> dict[str, Trait]:
    return {trait.name: trait for trait in declared}


def test_it_is_a_scope():
    """The type checker agrees that everything which expressions ask is there."""
    scope: Scope = scope_of()
    assert scope.now == NOW


def test_missing_things_are_null_zero_or_false():
    scope = scope_of()
    assert scope.trait("unknown") is None
    assert scope.trait("lifecycle") is None
    assert scope.event("x") is None
    assert scope.entry("x") is None
    assert scope.latest("x") is None
    assert scope.flag("step", "sent") is False
    assert scope.consent("email", "news") is False
    assert scope.count("x.x", DAY) == 0
    assert scope.last("x.x") is None


def test_lifecycle_is_a_trait():
    customer = Customer()
    customer.profile.lifecycle = "trial"
    assert scope_of(customer).trait("lifecycle") == "trial"


def test_the_event_at_hand():
    """Its properties as declared; gone when there is no event, and after a reset."""
    scope = scope_of(events={"a.b": {"at": "timestamp"}})
    event = Event(
        event_id="1",
        type="a.b",
        occurred_at=0,
        identities={},
        source="s",
        properties={"at": "1970-01-01T00:00:01Z"},
    )
    scope.set_event(event)
    assert scope.event("at") == 1000
    scope.set_event(None)
    assert scope.event("at") is None
    scope.set_event(event)
    scope.current_entry = Entry(id="0e", journey="j", version="v", started=0, cause="c", step="s")
    scope.reset(NOW + 1)
    assert (scope.now, scope.event("at"), scope.current_entry) == (NOW + 1, None, None)


def test_the_entry_at_hand():
    """``latest`` is the starting event until another moves the entry."""
    scope = scope_of()
    entry = Entry(id="0e", journey="j", version="v", started=0, cause="c", step="s", entry={"x": 1})
    scope.current_entry = entry
    assert (scope.entry("x"), scope.latest("x"), scope.latest("y")) == (1, 1, None)
    entry.latest = {"x": 2}
    assert (scope.entry("x"), scope.latest("x")) == (1, 2)


def sent(step: str, *flags: str, entry: str = "0e", pass_: int = 1) -> Sent:
    return Sent(
        action=b"",
        message="m",
        channel="email",
        category="c",
        at=NOW,
        entry=bytes.fromhex(entry),
        step=step,
        pass_=pass_,
        flags=sum(FLAGS[flag] for flag in flags),
    )


@pytest.mark.parametrize(
    ("flags", "true"),
    [
        ((), "sent"),
        (("accepted",), "sent accepted"),
        (("delivered",), "sent accepted delivered"),
        (("opened",), "sent accepted delivered opened"),
        (("clicked",), "sent accepted delivered opened clicked"),
        (("accepted", "bounced"), "sent accepted"),
        (("dropped",), ""),
        (("failed",), ""),
    ],
)
def test_flags_imply_one_another(flags, true):
    customer = Customer(sends=[sent("day1", *flags)])
    scope = scope_of(customer)
    scope.current_entry = Entry(
        id="0e", journey="j", version="v", started=0, cause="c", step="s", passes={"day1": 1}
    )
    names = ["sent", "accepted", "delivered", "opened", "clicked"]
    assert [name for name in names if scope.flag("day1", name)] == true.split()


def test_flags_are_of_the_latest_pass_and_attempt_of_this_entry():
    customer = Customer(
        sends=[sent("a", "opened", pass_=1), sent("a", "opened", entry="0f", pass_=2)]
    )
    scope = scope_of(customer)
    entry = Entry(
        id="0e", journey="j", version="v", started=0, cause="c", step="s", passes={"a": 2}
    )
    scope.current_entry = entry
    assert not scope.flag("a", "opened")
    assert not scope.flag("a", "sent")
    assert not scope.flag("b", "sent")
    customer.sends.append(sent("a", "dropped", pass_=2))
    customer.sends.append(sent("a", "opened", pass_=2))
    assert scope.flag("a", "opened")


def test_consent_is_asked_as_a_send_would():
    customer = Customer()
    customer.profile.consent = [[Statement("email", "", True, NOW)]]
    scope = scope_of(customer)
    assert scope.consent("email", "news")
    assert not scope.consent("push", "news")


# --------------------------------------------------------------------------------------- zones


def test_the_zone_is_the_traits_else_the_policys():
    customer = Customer()
    customer.profile.traits["zone"] = TraitState(value="Asia/Tokyo")
    zone = Trait(name="zone", kind="plain", type="string")
    policy = Policy(timezone="Europe/Berlin")
    scope = scope_of(customer, traits=traits(zone), timezone_trait="zone", policy=policy)
    assert scope.calendar.zone == "Asia/Tokyo"
    customer.profile.traits["zone"].value = "junk"
    assert scope.calendar.zone == "Asia/Tokyo"
    scope.forget_zone()
    assert scope.calendar.zone == "Europe/Berlin"
    assert scope_of(customer, policy=policy).calendar.zone == "Europe/Berlin"


def test_a_derived_zone_may_itself_ask_the_calendar():
    """It gets the policy's, instead of a circle."""
    text = 'days_since(timestamp("2020-01-01T00:00:00Z")) > 5 ? "Asia/Tokyo" : "UTC"'
    expression = compile_expression(text, Environment(profile=ANYTHING))
    zone = Trait(name="zone", kind="expr", type="string", expression=expression)
    scope = scope_of(traits=traits(zone), timezone_trait="zone")
    assert scope.calendar.zone == "Asia/Tokyo"


def test_days_since():
    scope = scope_of(policy=Policy(timezone="Europe/Berlin"))
    assert scope.days_since(NOW - 3 * DAY) == 3
    assert scope.days_since(NOW + 1) == -1


# --------------------------------------------------------------------------------- crossings


def truth_changes(scope: CustomerScope, read, comparison: str, bound: float) -> int | None:
    """The next change as found by looking at every candidate around the answer."""
    before = COMPARE[comparison](read(), bound)

    def at(instant: int) -> bool:
        now, scope.now = scope.now, instant
        value = COMPARE[comparison](read(), bound)
        scope.now = now
        return value != before

    return at


COMPARISONS = st.sampled_from(sorted(COMPARE))


@given(
    st.floats(0.01, 1e6) | st.floats(-1e6, -0.01),
    st.floats(0.01, 1e6) | st.floats(-10, 10) | st.sampled_from([1.0, 0.5, 4.0, 5e-324, -5e-324]),
    st.integers(1000, 90 * DAY),
    st.integers(-300_000, 10 * DAY),
    COMPARISONS,
)
@example(-1.0, -1.3215162396204003e-273, 1000, -93_516, "<")  # late: it has grown back, far
@settings(max_examples=400, deadline=None)
def test_a_score_crosses_exactly(value, bound, half_life, age, comparison):
    """The truth changes at the instant given, not a millisecond before, and never otherwise."""
    customer = Customer()
    customer.profile.traits["score"] = TraitState(value=value, at=NOW - age)
    trait = Trait(
        name="score", kind="score", type="double", scores={"x.x": 1.0}, half_life_ms=half_life
    )
    scope = scope_of(customer, traits=traits(trait))
    changed = truth_changes(scope, lambda: scope.trait("score"), comparison, bound)
    then = scope.when_trait_crosses("score", comparison, bound)
    if then is None:
        assert not any(changed(NOW + part * half_life // 7) for part in range(1, 140))
    else:
        assert then > NOW
        assert changed(then)
        assert not changed(then - 1)
        assert not changed((NOW + then) // 2)


@pytest.mark.parametrize(
    ("value", "comparison", "bound", "days"),
    [
        (8.0, ">", 2.0, 2),
        (8.0, ">=", 2.0, 2),
        (8.0, "==", 2.0, 2),
        (8.0, "==", 8.0, 0),
        (8.0, "<", 2.0, 2),
        (-8.0, "<", -2.0, 2),
        (8.0, ">", 9.0, None),
        (8.0, ">", -2.0, None),
        (8.0, ">", -5e-324, None),
        (8.0, ">", 0, None),
        (0.0, ">", 1, None),
        (8.0, ">", 5e-324, 1000),
        (-8.0, "<", -1e-320, 1000),
    ],
)
def test_scores_cross_towards_zero_only(value, comparison, bound, days):
    customer = Customer()
    customer.profile.traits["score"] = TraitState(value=value, at=NOW)
    then = scope_of(customer, traits=traits(SCORE)).when_trait_crosses("score", comparison, bound)
    if days is None:
        assert then is None
    else:
        assert 0 <= then - NOW - days * DAY <= 1


@given(
    st.lists(st.tuples(st.integers(0, DAY - 1), st.integers(-5, 5)), max_size=40),
    st.sampled_from([COUNT, SUM]),
    st.integers(-5, 12),
    COMPARISONS,
)
@settings(max_examples=300, deadline=None)
def test_a_window_that_empties_crosses_exactly(hits, trait, bound, comparison):
    customer = Customer()
    state = customer.profile.traits[trait.name] = TraitState()
    for age, amount in hits:
        add_hit(state, NOW - age, amount if trait is SUM else None, DAY, NOW)
    scope = scope_of(customer, traits=traits(trait))
    changed = truth_changes(scope, lambda: scope.trait(trait.name), comparison, bound)
    then = scope.when_trait_crosses(trait.name, comparison, bound)
    expected = sorted(at for at in (NOW - age + DAY for age, _ in hits) if changed(at))
    assert then == (expected[0] if expected else None)
    if then is not None:
        assert not changed(then - 1)


def test_counts_of_live_expressions_cross_too():
    customer = Customer()
    state = customer.profile.traits[f"#x.x/{DAY}"] = TraitState()
    for age in (0, HOUR):
        add_hit(state, NOW - age, None, DAY, NOW)
    scope = scope_of(customer)
    assert scope.when_count_crosses("x.x", DAY, ">=", 2) == NOW - HOUR + DAY
    assert scope.when_count_crosses("x.x", DAY, ">", 0) == NOW + DAY
    assert scope.when_count_crosses("x.x", HOUR, ">", 0) is None


def test_buckets_leave_with_their_window():
    """A hit that comes when all the others are gone stands alone, buckets included."""
    state = TraitState()
    for number in range(300):
        add_hit(state, NOW + number * 60_000, 2, DAY, NOW + number * 60_000)
    assert len(state.hits) == EXACT
    assert sum(state.older_amounts) == 2 * (300 - EXACT)
    add_hit(state, NOW + 3 * DAY, 5, DAY, NOW + 3 * DAY)
    assert (state.hits, state.amounts) == ((NOW + 3 * DAY,), (5,))
    assert (state.older, state.older_amounts) == ((), ())


def test_buckets_cross_at_their_ends():
    """Beyond 256 hits the truth still changes exactly when the value that is read changes."""
    customer = Customer()
    state = customer.profile.traits["count"] = TraitState()
    for number in range(400):
        add_hit(state, NOW - 20 * HOUR + number * 60_000, None, DAY, NOW)
    scope = scope_of(customer, traits=traits(COUNT))
    then = scope.when_trait_crosses("count", ">", 300)
    assert then is not None
    scope.now = then
    assert scope.trait("count") <= 300
    scope.now = then - 1
    assert scope.trait("count") > 300


def test_what_time_does_not_move_never_crosses():
    plain = Trait(name="n", kind="count", type="long", on=("x.x",))
    scope = scope_of(traits=traits(plain, SCORE))
    assert scope.when_trait_crosses("n", ">", 1) is None
    assert scope.when_trait_crosses("unknown", ">", 1) is None
    assert scope.when_trait_crosses("score", ">", 1) is None


@given(
    st.sampled_from(["Europe/Berlin", "Pacific/Apia", "America/St_Johns"]),
    st.integers(-60 * DAY, 60 * DAY),
    st.integers(-50, 50) | st.sampled_from([0.5, -0.5, 7.25]),
    COMPARISONS,
)
@settings(max_examples=300, deadline=None)
def test_days_since_crosses_exactly(zone, offset, bound, comparison):
    scope = scope_of(policy=Policy(timezone=zone))
    instant = NOW + offset
    changed = truth_changes(scope, lambda: scope.days_since(instant), comparison, bound)
    then = scope.when_days_since(instant, comparison, bound)
    if then is None:
        assert not any(changed(NOW + number * DAY) for number in range(200))
    else:
        assert then > NOW
        assert changed(then)
        assert not changed(then - 1)
        assert not changed((NOW + then) // 2)


@pytest.mark.parametrize("bound", [float("inf"), float("-inf"), float("nan"), 1e18])
def test_days_since_never_reaches_nonsense(bound):
    assert scope_of().when_days_since(NOW, ">", bound) is None


def test_channels_without_consent():
    scope = scope_of(policy=Policy(channels={"sales": Channel(name="sales", needs_consent=False)}))
    assert scope.consent("sales", "any")
