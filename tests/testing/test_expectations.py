"""An ``expect`` list is complete and ordered by instant; an ``includes`` list is not."""

from __future__ import annotations

from itertools import permutations

import pytest

from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.scenarios import MESSAGE_OUTCOMES, Expected
from orchestrator.records import Decision
from orchestrator.testing.expectations import Mismatch, Seen, compare, includes

MARK = Mark("t.yaml", 1, 1)


def came(outcome, subject, at=1, key="", **fields):
    name = "message" if outcome in MESSAGE_OUTCOMES else "journey"
    values = {"customer_id": "c", "caused_by": "e", "catalog": "h", name: subject, **fields}
    return Seen(Decision(decision_id="d", outcome=outcome, decided_at=at, **values), key)


def wanted(outcome, subject, **fields):
    return Expected(mark=MARK, outcome=outcome, subject=subject, fields=fields)


A, B = came("sent", "a", 1), came("sent", "b", 2)
ENTERED = came("entered", "j", 1)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ([], []),
        ([], [ENTERED]),
        ([wanted("sent", "a"), wanted("sent", "b")], [A, B, ENTERED]),
        ([wanted("sent", "a"), wanted("entered", "j")], [ENTERED, A]),
        ([wanted("entered", "j"), wanted("sent", "a")], [A, ENTERED]),
    ],
)
def test_what_fits(expected, seen):
    """Movements are compared only where they are written."""
    assert compare(expected, seen) is None


@pytest.mark.parametrize(
    ("expected", "seen", "mismatch"),
    [
        ([], [A], Mismatch(None, A)),
        ([wanted("sent", "a")], [], Mismatch(0)),
        ([wanted("sent", "b"), wanted("sent", "a")], [A, B], Mismatch(0, A)),
        ([wanted("sent", "a"), wanted("sent", "b")], [A], Mismatch(1)),
        ([wanted("sent", "a")], [A, B], Mismatch(None, B)),
        ([wanted("sent", "a"), wanted("exited", "j")], [A, ENTERED], Mismatch(1)),
        ([wanted("entered", "j"), wanted("entered", "j")], [ENTERED], Mismatch(1)),
        ([wanted("suppressed", "a")], [A], Mismatch(0, A)),
    ],
)
def test_what_does_not_fit(expected, seen, mismatch):
    assert compare(expected, seen) == mismatch


def test_within_one_instant_any_order_fits():
    """Also where a loose item could take the place of the only decision that fits a narrow one."""
    seen = [
        came("sent", "a", 1, channel="email"),
        came("sent", "a", 1, channel="push"),
        came("sent", "b", 1),
    ]
    items = [wanted("sent", "a"), wanted("sent", "a", channel="email"), wanted("sent", "b")]
    for order in permutations(items):
        assert compare(order, seen) is None
        for reversed_ in permutations(seen):
            assert compare(order, reversed_) is None


def test_includes_are_among_others():
    assert includes([wanted("sent", "b")], [A, B, ENTERED]) is None
    assert includes([wanted("entered", "j"), wanted("sent", "a")], [A, B, ENTERED]) is None
    assert includes([wanted("sent", "c")], [A, B]) == Mismatch(0)


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        ("channel", "email", "push"),
        ("step", "s", "t"),
        ("journey", "j", "k"),
        ("key", "k1", "k2"),
        ("customer", "c", "d"),
        ("at", 7, 8),
        ("until", 9, 8),
        ("reason", "cap", "gap"),
        ("rule", "daily", "weekly"),
        ("winner", "w", "v"),
        ("version", "abc", "abd"),
    ],
)
def test_every_narrowing(field, value, other):
    """Only written keys are compared; of a version its beginning is enough."""
    seen = came(
        "lost",
        "a",
        7,
        "k1",
        channel="email",
        step="s",
        journey="j",
        journey_version="abcdef",
        until=9,
        reason="cap",
        rule="daily",
        rule_values={"winner": "w"},
    )
    assert compare([wanted("lost", "a", **{field: value})], [seen]) is None
    assert compare([wanted("lost", "a", **{field: other})], [seen]) == Mismatch(0, seen)
