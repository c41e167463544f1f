"""The timer heap gives what a sorted list would, whatever is stored, pending, armed or put back."""

from __future__ import annotations

import bisect

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.timers import Timers, due_of, entry, key_of

ENTRIES = st.tuples(st.integers(1, 300), st.sampled_from([b"a", b"b", b"c", b"d"]))


def limit(now: int) -> bytes:
    return (now + 1).to_bytes(8, "big")


@settings(deadline=None)
@given(
    stored=st.sets(ENTRIES),
    pending=st.sets(ENTRIES),
    steps=st.lists(st.tuples(st.integers(0, 80), st.lists(ENTRIES, max_size=3)), max_size=12),
    portion=st.integers(1, 5),
    ahead=st.sampled_from([0, 7, 10_000]),
)
def test_fires_in_order_and_completely(stored, pending, steps, portion, ahead):
    """Law: up to t exactly the entries <= t come, in (due, key) order, and none twice."""
    index = sorted(entry(*each) for each in stored)
    later = {entry(*each) for each in pending}
    timers = Timers(
        lambda start: iter(index[bisect.bisect_left(index, start) :]),
        lambda: later,
        portion=portion,
        ahead_ms=ahead,
    )
    expected = set(index) | later
    now = 0
    for ahead_by, armed in steps:
        now += ahead_by
        taken = []
        while timers.first(limit(now)) is not None:
            taken.append(timers.take())
        assert taken == sorted(e for e in expected if e < limit(now))
        expected -= set(taken)
        for due, key in armed:
            new = entry(now + due, key)
            if new not in expected:
                later.add(new)
                expected.add(new)
                timers.arm(now + due, key)


def test_what_was_put_back_comes_again():
    """An input that had to wait is tried again, in its place."""
    timers = Timers(lambda _: iter([entry(5, b"k")]), lambda: (), portion=10, ahead_ms=0)
    assert timers.first(limit(5)) == entry(5, b"k")
    taken = timers.take()
    assert timers.first(limit(5)) is None
    timers.put_back(taken)
    assert timers.first(limit(5)) == taken
    assert (due_of(taken), key_of(taken), len(timers)) == (5, b"k", 1)


def test_a_million_timers_of_one_instant_are_loaded_in_portions():
    """The horizon is an entry: memory is bounded by the portion, not by the instant."""
    index = [entry(7, b"%06d" % n) for n in range(2_500)]
    timers = Timers(
        lambda start: iter(index[bisect.bisect_left(index, start) :]),
        lambda: (),
        portion=1_000,
        ahead_ms=60_000,
    )
    largest = count = 0
    while timers.first(limit(7)) is not None:
        largest = max(largest, len(timers))
        timers.take()
        count += 1
    assert (count, largest) == (2_500, 1_000)
