"""Hits of a moving window: the newest 256 exactly, older ones in equal buckets.

A hit counts while ``occurred_at > now - window``. A bucket counts as if all its hits lay at its end,
so it may leave late by its width, 1/63 of the window. Buckets lie on fixed multiples of their width:
whatever the order of arrival, and also after a merge, a hit falls into the same one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import reduce
from itertools import accumulate
from operator import add as plus
from typing import TYPE_CHECKING, TypeVar

from orchestrator.stages.decide.values import add

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.stages.decide.state import TraitState

T = TypeVar("T")
EXACT = 256
BUCKETS = 64


def add_hit(state: TraitState, at: int, amount: float | None, window_ms: int, now: int) -> bool:
    """Add a hit (``amount`` None: one more of a count); return whether it lies in the window.

    Here, and only here, hits that left the window are dropped: a moment that the log gives.
    """
    edge = now - window_ms
    if state.older or (state.hits and state.hits[0] <= edge):
        _drop_left(state, edge)
    if at <= edge:
        return False
    place = bisect_right(state.hits, at)
    state.hits = inserted(state.hits, place, at)
    if amount is not None:
        state.amounts = inserted(state.amounts, place, amount)
    if len(state.hits) > EXACT:
        overflow(state, window_ms)
    return True


def overflow(state: TraitState, window_ms: int, exact: int = EXACT) -> None:
    """Move what exceeds the newest 256 into buckets; the oldest bucket goes when there are 65."""
    surplus = max(len(state.hits) - exact, 0)
    if not surplus and len(state.older) <= BUCKETS:
        return
    width = -(-window_ms // (BUCKETS - 1))
    for index in range(surplus):
        amount = state.amounts[index] if state.amounts else 1
        _add_to_bucket(state, (state.hits[index] // width + 1) * width, amount)
    state.hits, state.amounts = state.hits[surplus:], state.amounts[surplus:]
    state.older, state.older_amounts = state.older[-BUCKETS:], state.older_amounts[-BUCKETS:]


def _add_to_bucket(state: TraitState, end: int, amount: float) -> None:
    place = bisect_left(state.older, end)
    if place < len(state.older) and state.older[place] == end:
        amounts = state.older_amounts
        total_ = add(amounts[place], amount)
        state.older_amounts = (*amounts[:place], total_, *amounts[place + 1 :])
    else:
        state.older = inserted(state.older, place, end)
        state.older_amounts = inserted(state.older_amounts, place, amount)


def _drop_left(state: TraitState, edge: int) -> None:
    if gone := bisect_right(state.hits, edge):
        state.hits, state.amounts = state.hits[gone:], state.amounts[gone:]
    if gone := bisect_right(state.older, edge):
        state.older, state.older_amounts = state.older[gone:], state.older_amounts[gone:]


def inserted(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    """Return the items with one more at ``place``."""
    if place == len(items):
        return (*items, item)
    return (*items[:place], item, *items[place:])


def total(state: TraitState, window_ms: int, now: int) -> float:
    """Return what the window holds at ``now``: the number of hits, or the sum of their amounts."""
    edge = now - window_ms
    first = bisect_right(state.hits, edge)
    hits: float = len(state.hits) - first
    if state.amounts:
        hits = _sum(state.amounts[first:])
    return hits + _sum(state.older_amounts[bisect_right(state.older, edge) :])


def _sum(amounts: Sequence[float]) -> float:
    """Add from the newest on, so that ``next_change`` gets every rest of a window to the last bit."""
    return reduce(plus, reversed(amounts), 0)


def next_change(
    state: TraitState, window_ms: int, now: int, truth: Callable[[float], bool]
) -> int | None:
    """Return the first instant after ``now`` at which leaving hits alone change a truth.

    ``truth`` is asked about the very totals that ``total`` returns then.
    """
    hits, older = state.hits, state.older
    of_newest: Sequence[float] = range(len(hits) + 1)
    if state.amounts:
        of_newest = list(accumulate(reversed(state.amounts), initial=0))
    of_newest_older = list(accumulate(reversed(state.older_amounts), initial=0))
    edge = now - window_ms
    before: bool | None = None
    while True:
        left, left_older = bisect_right(hits, edge), bisect_right(older, edge)
        after = truth(of_newest[len(hits) - left] + of_newest_older[len(older) - left_older])
        if before is None:
            before = after
        elif after != before:
            return edge + window_ms
        following = [*hits[left : left + 1], *older[left_older : left_older + 1]]
        if not following:
            return None
        edge = min(following)
