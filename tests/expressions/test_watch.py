"""Watched conditions: the exact instant at which time alone may change them, or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.expressions import Environment, ExpressionError, Names, compile_expression
from tests.expressions.world import ANYWHERE, DAY, Customer, compiled

NOW = 1_000 * DAY


def watched(text, place=None, **customer):
    """Return the next change and what the scope was asked."""
    from tests.expressions.world import PLACE

    expression = compile_expression(text, place or PLACE, watched=True)
    who = Customer(**customer)
    return expression.next_change(who), who.asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("profile.heat > 5", ("trait", "heat", ">", 5)),
        ("5 < profile.heat", ("trait", "heat", ">", 5)),
        ("5 == profile.heat", ("trait", "heat", "==", 5)),
        ("profile.recent <= profile.orders", ("trait", "recent", "<=", 3)),
        ("count(pricing.viewed, P7D) >= 2", ("count", "pricing.viewed", 7 * DAY, ">=", 2)),
        ("2.5 >= count(pricing.viewed, P7D)", ("count", "pricing.viewed", 7 * DAY, "<=", 2.5)),
        ("days_since(profile.trial_ends) > 3", ("days", 7, ">", 3)),
        ("!(days_since(profile.trial_ends) != 3)", ("days", 7, "!=", 3)),
        ("(profile.heat > 5) == true", ("trait", "heat", ">", 5)),
        ("true != (profile.heat > 5)", ("trait", "heat", ">", 5)),
    ],
)
def test_terms(text, asked):
    """One moving term on either side; the bound may be anything that time does not move."""
    profile = {"trial_ends": 7, "orders": 3}
    assert watched(text, profile=profile) == (4_711, [asked])


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("now() < profile.trial_ends", NOW + 5, NOW + 5),
        ("now() >= profile.trial_ends", NOW + 5, NOW + 5),
        ("now() > profile.trial_ends", NOW + 5, NOW + 6),
        ("profile.trial_ends < now()", NOW + 5, NOW + 6),
        ("now() <= profile.trial_ends", NOW, NOW + 1),
        ("now() == profile.trial_ends", NOW + 5, NOW + 5),
        ("now() == profile.trial_ends", NOW, NOW + 1),
        ("now() != profile.trial_ends", NOW - 1, None),
        ("now() >= profile.trial_ends", NOW, None),
        ("now() >= profile.trial_ends", None, None),
        ("days_since(profile.trial_ends) > 3", None, None),
    ],
)
def test_now(text, at, expected):
    """The instant itself, or the millisecond behind it; null and the past never change."""
    assert watched(text, profile={"trial_ends": at})[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "count(pricing.viewed, P7D) > profile.orders",
        "profile.heat > profile.spent",
        "days_since(profile.trial_ends) > profile.orders",
    ],
)
def test_a_null_bound_never_changes(text):
    """With null on one side the atom stays false until something is set."""
    assert watched(text, profile={"trial_ends": 7}) == (None, [])


@pytest.mark.parametrize(
    ("text", "vip", "asks"),
    [
        ("profile.vip && profile.heat > 5", True, True),
        ("profile.vip && profile.heat > 5", False, False),
        ("profile.vip || profile.heat > 5", True, False),
        ("profile.vip || profile.heat > 5", False, True),
        ("profile.vip ? profile.heat > 5 : false", True, True),
        ("profile.vip ? profile.heat > 5 : false", False, False),
        ("profile.vip ? false : profile.heat > 5", False, True),
        ("profile.heat > 5 ? profile.vip : false", False, True),
        ("profile.heat > 5 ? profile.recent > 1 : false", False, True),
    ],
)
def test_what_cannot_matter_is_not_asked(text, vip, asks):
    """A still operand that decides by itself makes the moving ones irrelevant."""
    at, asked = watched(text, profile={"vip": vip})
    assert (at is not None, bool(asked)) == (asks, asks)


def test_the_earliest_of_several():
    """Of several moving atoms the next one counts."""
    text = "now() > timestamp('2000-01-01T00:00:00Z') || now() > timestamp('2001-01-01T00:00:00Z')"
    assert watched(text)[0] == 946_684_800_001


@pytest.mark.parametrize(
    "text",
    [
        "profile.vip",
        "last(pricing.viewed) == null",
        "now() == null",
        "profile.heat != null",
        "has(profile.recent)",
        "days_since(profile.trial_ends) == null",
        "count(pricing.viewed, P1D) == null",
        "has(profile.heat) && profile.vip",
    ],
)
def test_never_by_time_alone(text):
    """What time does not move, and what is never null, has no next change."""
    assert watched(text) == (None, [])


@pytest.mark.parametrize(
    "text",
    [
        "profile.heat + 1.0 > 5.0",
        "profile.heat > profile.recent",
        "now() > now()",
        "profile.heat in [1.0]",
        "days_since(now()) > 1",
        "days_since(now()) == null",
        "days_since(profile.vip ? now() : profile.trial_ends) == null",
        "(profile.vip ? profile.heat : 0.0) > 1.0",
        "size(string(profile.heat)) > 3",
        "(profile.vip ? profile.heat : 0.0) == null",
        "min(profile.heat, 3.0) > 1.0",
        "string(profile.heat) == '1'",
    ],
)
def test_unwatchable(text):
    """Whatever else moves with time is refused, with the way out."""
    if text == "days_since(now()) == null":
        assert watched(text) == (None, [])
        return
    with pytest.raises(ExpressionError) as caught:
        watched(text)
    assert caught.value.problem == "unwatchable"
    compiled(text)  # as an `if` it is fine


def derived(**texts):
    """Return a place with derived traits, each compiled before the next."""
    types, trees = {"heat": "double", "vip": "boolean"}, {}
    for name, text in texts.items():
        place = Environment(
            profile=Names(types), timed=frozenset({"heat"}), derived=trees, any_step=True
        )
        trees = {**trees, name: compile_expression(text, place)}
        types = {**types, name: trees[name].type}
    return Environment(profile=Names(types), timed=frozenset({"heat"}), derived=trees)


def test_through_derived_traits():
    """A derived trait is watched as what it is made of."""
    place = derived(
        warm="profile.heat > 5.0", warmth="profile.heat", very="profile.warm && profile.vip"
    )
    assert watched("profile.warm", place)[1] == [("trait", "heat", ">", 5.0)]
    assert watched("profile.warmth < 2.0", place)[1] == [("trait", "heat", "<", 2.0)]
    assert watched("profile.very", place, profile={"vip": True})[1]
    assert watched("has(profile.warmth)", place) == (None, [])
    with pytest.raises(ExpressionError):
        watched("has(profile.warm)", place)
    with pytest.raises(ExpressionError):
        watched("profile.warmth + 1.0 > 2.0", place)


@given(st.integers(-5, 5), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_now_changes_exactly_then(distance, comparison):
    """Between now and the next change the truth is the same; at it, it is another."""
    expression = compile_expression(f"now() {comparison} event.t", ANYWHERE, watched=True)
    who = Customer(properties={"t": NOW + distance}, now=NOW)
    truth, at = expression(who), expression.next_change(who)
    for later in range(NOW, NOW + 10 if at is None else at):
        who.now = later
        assert expression(who) == truth
    if at is not None:
        who.now = at
        assert expression(who) != truth
