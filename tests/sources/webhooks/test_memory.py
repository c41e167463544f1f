"""What the collector remembers of webhooks: four days at least, and never more than it may hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sources.webhooks.memory import KEPT_MS, Seen

names = st.integers(0, 5).map(lambda number: ("source", f"e{number}"))


@given(st.lists(st.tuples(names, st.integers(0, KEPT_MS // 2)), max_size=40))
@settings(max_examples=60)
def test_four_days_are_remembered_and_nothing_that_never_came(steps):
    """Whatever came within four days is known; what never came is not."""
    seen, now, last = Seen(), 1_800_000_000_000, {}
    for name, pause in steps:
        now += pause
        for other in [("source", f"e{number}") for number in range(6)]:
            if other in last and now - last[other] <= KEPT_MS:
                assert other in seen
            if other not in last:
                assert other not in seen
        seen.add(name, now)
        last[name] = now


def test_it_is_bounded():
    """Under very many the oldest go first, whatever their age."""
    seen = Seen(most=10)
    for number in range(1000):
        seen.add(("s", str(number)), 5)
    known = [number for number in range(1000) if ("s", str(number)) in seen]
    assert len(known) <= 20
    assert known == list(range(known[0], 1000))
    assert len(known) >= 10
