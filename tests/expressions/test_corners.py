"""Corners that no other test reaches."""

import pytest

from orchestrator.expressions import ExpressionError, compile_expression
from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.expressions.instants import (
    MAX_INSTANT,
    MIN_INSTANT,
    format_instant,
    parse_instant,
)
from orchestrator.expressions.reads import conform
from orchestrator.expressions.types import unify
from tests.expressions.world import ANYWHERE, Customer, compiled, value


def test_event_types_of_three_parts():
    """A bare type may have more than one dot."""
    assert compiled("last(a.b.c) == null", ANYWHERE).references.lasts == {"a.b.c"}


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("!(profile.vip ? 1 : 2)", 2),
        ("!profile.name.size()", 1),
        ("!profile.plan", 1),
        ("!(1 + 2)", 2),
    ],
)
def test_the_place_of_an_operand_is_its_first_token(text, offset):
    """Also when it is a condition, a method call, a path or a sum."""
    with pytest.raises(ExpressionError) as caught:
        compiled(text)
    assert caught.value.offset == offset


def test_unknown_types_at_run_time():
    """Lists and nulls among undeclared values."""
    customer = Customer(properties={"x": [1]})
    assert compiled("min(event.x, 1)", ANYWHERE)(customer) is None
    assert compiled("event.nothing == event.x", ANYWHERE)(customer) is False
    assert compiled("event.nothing in event.x", ANYWHERE)(customer) is False


def test_instants():
    """The years 1 to 9999, and nothing else."""
    assert format_instant(MAX_INSTANT) == "9999-12-31T23:59:59.999Z"
    assert format_instant(MIN_INSTANT) == "0001-01-01T00:00:00Z"
    assert format_instant(MAX_INSTANT + 1) is None
    assert parse_instant("2026-02-30T00:00:00Z") is None
    assert parse_instant("2026-03-02 10:00+01:00") == parse_instant(
        "2026-03-02T09:00:00.000000000Z"
    )
    assert value("string(profile.trial_ends)", profile={"trial_ends": MAX_INSTANT + 1}) is None


def test_conform():
    """A value as one of a type, or null."""
    assert conform(5, "double") == 5.0
    assert conform("5", "long") is None
    assert conform(5, "any") == 5


def test_unify():
    """The type that holds both."""
    assert unify("long", "any") == "any"
    assert unify("long", "string") is None


def test_durations():
    """Elapsed time, emptiness, and what is no duration."""
    assert parse_duration("P1W1DT1H1M1S") == Duration(8, 3_661_000)
    assert parse_duration("P1D").milliseconds() == 86_400_000
    assert not parse_duration("PT0S")
    assert Duration(1)
    for text in ("P", "PT", "1D", "P1Y", "P1.5D", ""):
        with pytest.raises(ValueError, match=r"duration|length"):
            parse_duration(text)


def test_a_choice_of_anything_is_no_condition_to_watch():
    """Its arms may be something other than true and false."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression("now() > event.x ? event.y : true", ANYWHERE, watched=True)
    assert caught.value.problem == "unwatchable"
