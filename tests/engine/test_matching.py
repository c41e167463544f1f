"""Multisets compared in one pass."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.matching import Item, Matcher

items = st.lists(st.sampled_from([Item(b"k", bytes([n])) for n in range(6)]), max_size=30)


@given(items, items, st.randoms())
def test_whatever_the_order_the_differences_are_those_of_the_multisets(expected, found, rnd):
    steps = [(True, one) for one in expected] + [(False, one) for one in found]
    rnd.shuffle(steps)
    matcher = Matcher()
    for should, item in steps:
        (matcher.expect if should else matcher.find)(item)
    wanted, there = Counter(expected), Counter(found)
    assert Counter(matcher.missing()) == wanted - there
    assert Counter(matcher.surplus()) == there - wanted
    assert matcher.matched == (wanted & there).total()
    assert matcher.open == bool(wanted - there)
    for item in matcher.surplus():
        assert matcher.expected_before(item) == (item in wanted)
