"""Merging of profiles: any order, any grouping, as often as you like."""

import random
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expressions import ANYTHING, Environment, compile_expression
from orchestrator.records import Event
from orchestrator.stages.catalog import Catalog, Trait
from orchestrator.stages.decide import consent, seen
from orchestrator.stages.decide.merge_profile import merge
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.state import Customer, Profile, Statement, TraitState
from orchestrator.stages.decide.traits import apply_event

NOW = 1_780_308_000_000
DAY = 86_400_000
TAKE = compile_expression("event.v", Environment(event=ANYTHING))
DECLARED = [
    Trait(name="plain", kind="plain", type="long"),
    Trait(name="last", kind="last", type="long", on=("x.x",), take=TAKE),
    Trait(name="first", kind="first", type="long", on=("x.x",), take=TAKE),
    Trait(name="min", kind="min", type="long", on=("x.x",), take=TAKE),
    Trait(name="max", kind="max", type="long", on=("x.x",), take=TAKE),
    Trait(name="count", kind="count", type="long", on=("x.x",)),
    Trait(name="recent", kind="count", type="long", on=("x.x",), window_ms=DAY),
    Trait(name="sum", kind="sum", type="double", on=("x.x",), take=TAKE),
    Trait(name="spent", kind="sum", type="double", on=("x.x",), take=TAKE, window_ms=DAY),
    Trait(name="up", kind="up", type="long", on=("x.x",), down="y.y"),
    Trait(name="open", kind="up", type="long", on=("x.x",), down="y.y", by=TAKE),
    Trait(name="set", kind="set", type="long", on=("x.x",), take=TAKE, limit=4),
    Trait(name="score", kind="score", type="double", scores={"x.x": 1.5}, half_life_ms=DAY),
]
FED = tuple(trait.name for trait in DECLARED[1:])
CATALOG = Catalog(
    traits={trait.name: trait for trait in DECLARED},
    traits_by_event={"x.x": FED, "y.y": ("up", "open")},
    counts=frozenset({("x.x", DAY)}),
    lasts=frozenset({"x.x"}),
)

HITS = st.tuples(
    st.sampled_from(["x.x", "x.x", "y.y", "customer.updated"]),
    st.integers(0, 2 * DAY // 1000).map(lambda ago: NOW - ago * 1000),
    st.integers(0, 9),
)
STATEMENTS = st.builds(
    Statement, st.sampled_from(["", "email"]), st.just(""), st.booleans(), st.integers(0, 3)
)


@st.composite
def profiles(draw) -> Profile:
    """Profiles as the log makes them."""
    customer = Customer()
    scope = CustomerScope("c", customer, CATALOG, NOW)
    for number, (type_, at, value) in enumerate(draw(st.lists(HITS, max_size=12))):
        event = Event(
            event_id=draw(st.sampled_from(["a", "b", str(number)])),
            type=type_,
            occurred_at=at,
            identities={},
            source="s",
            properties={"v": value, "plain": value},
        )
        scope.set_event(event)
        apply_event(customer, event, NOW, CATALOG, scope)
        seen.check_and_remember(customer.profile, event, NOW + draw(st.integers(0, 5)))
    profile = customer.profile
    profile.consent = consent.unite([consent.tidy(draw(st.lists(STATEMENTS, max_size=3)))])
    profile.unusable = draw(
        st.dictionaries(
            st.sampled_from(["email", "push"]),
            st.lists(st.sampled_from([b"a", b"b", b"c"]), unique=True, min_size=1).map(
                lambda some: tuple(sorted(some))
            ),
        )
    )
    profile.holdout = draw(
        st.dictionaries(st.sampled_from(["s", "t"]), st.sampled_from([0, 77, 10_000]))
    )
    profile.lifecycle = draw(st.sampled_from(["", "new", "old"]))
    return profile


def plain(profile: Profile, *, but: str = "absorbed"):
    """As nested lists, doubles rounded to nine significant digits."""

    def rounded(value):
        match value:
            case float():
                return float(f"{value:.8e}")
            case list() | tuple():
                return [rounded(one) for one in value]
            case dict():
                return {name: rounded(value[name]) for name in sorted(value)}
            case _:
                return value

    copy = deepcopy(profile)
    setattr(copy, but, ())
    return rounded(msgspec.to_builtins(copy))


@given(profiles(), profiles())
@settings(max_examples=150, deadline=None)
def test_merging_is_commutative(one, other):
    assert plain(merge(one, other, "m", CATALOG)) == plain(merge(other, one, "m", CATALOG))


@given(profiles(), profiles(), profiles())
@settings(max_examples=150, deadline=None)
def test_merging_is_associative(one, two, three):
    left = merge(merge(one, two, "m", CATALOG), three, "n", CATALOG)
    right = merge(one, merge(two, three, "n", CATALOG), "m", CATALOG)
    assert plain(left) == plain(right)
    assert left.absorbed == right.absorbed == ("m", "n")


@given(profiles(), profiles())
@settings(max_examples=100, deadline=None)
def test_the_same_merge_twice_is_one_and_changes_neither(one, other):
    before = deepcopy((one, other))
    merged = merge(one, other, "m", CATALOG)
    assert merge(merged, other, "m", CATALOG) is merged
    assert (one, other) == before


@given(profiles())
@settings(max_examples=100, deadline=None)
def test_an_empty_profile_adds_nothing(one):
    """But that it does not know the lifecycle, and ids of one instant come in one order."""
    once = merge(one, Profile(), "m", CATALOG)
    assert once.traits == one.traits
    assert once.consent == one.consent
    assert len(once.seen) == len(one.seen)
    assert plain(merge(once, Profile(), "n", CATALOG)) == plain(once)


def test_windows_interleave_beyond_their_exact_hits():
    """Two customers of 400 hits each have 800: the newest 256 exactly, the others in buckets."""
    hits = [(NOW - number * 60_000, 1 + number % 3) for number in range(800)]
    random.Random(7).shuffle(hits)

    def profile_of(part):
        customer = Customer()
        scope = CustomerScope("c", customer, CATALOG, NOW)
        for at, value in part:
            event = Event(
                event_id="e",
                type="x.x",
                occurred_at=at,
                identities={},
                source="s",
                properties={"v": value},
            )
            scope.set_event(event)
            apply_event(customer, event, NOW, CATALOG, scope)
        return customer.profile

    merged = merge(profile_of(hits[:400]), profile_of(hits[400:]), "m", CATALOG)
    together = profile_of(hits)
    for name in ("recent", "spent", f"#x.x/{DAY}", "count", "set", "open"):
        assert merged.traits[name] == together.traits[name], name


def test_what_the_catalog_no_longer_knows_is_kept_by_last_write():
    one = Profile(traits={"gone": TraitState(value="old", at=1)})
    other = Profile(traits={"gone": TraitState(value="new", at=2)})
    assert merge(one, other, "m", CATALOG).traits["gone"].value == "new"


@pytest.mark.parametrize("kind", ["min", "max", "first"])
def test_a_missing_extreme_is_no_extreme(kind):
    one = Profile(traits={kind: TraitState(value=None, at=1)})
    other = Profile(traits={kind: TraitState(value=5, at=2)})
    assert merge(one, other, "m", CATALOG).traits[kind].value == 5
    assert merge(other, one, "m", CATALOG).traits[kind].value == 5


def test_states_of_another_kind_give_way():
    """Left behind by an earlier catalog under the same name."""
    fits = Profile(traits={"set": TraitState(open=(1,), hits=(1,))})
    odd = Profile(traits={"set": TraitState(hits=(1, 2), value=1)})
    odder = Profile(traits={"set": TraitState(hits=(1, 2), value=2)})
    assert merge(fits, odd, "m", CATALOG).traits["set"].open == (1,)
    assert merge(odd, fits, "m", CATALOG).traits["set"].open == (1,)
    assert merge(odd, odder, "m", CATALOG) == merge(odder, odd, "m", CATALOG)
    count = Profile(traits={"count": TraitState(value="text")})
    assert merge(count, count, "m", CATALOG).traits["count"].value == 0


def test_what_was_seen_by_either_is_a_duplicate():
    """As of its first arrival; the newest thousand stay."""
    event = Event(event_id="1", type="x.x", occurred_at=0, identities={}, source="s")
    one, other = Profile(), Profile()
    seen.check_and_remember(one, event, NOW + 5)
    seen.check_and_remember(other, event, NOW)
    merged = merge(one, other, "m", CATALOG)
    assert [int.from_bytes(at, "big") for _, at in seen.remembered(merged)] == [NOW]
    assert seen.check_and_remember(merged, event, NOW + 6)


def test_control_wins():
    merged = merge(Profile(holdout={"s": 7}), Profile(holdout={"s": 10_000}), "m", CATALOG)
    assert merged.holdout == {"s": 7}
