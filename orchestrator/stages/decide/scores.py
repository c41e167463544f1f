"""Scores that decay: halved every ``half_life``, exactly reproducible, exactly crossed."""

from __future__ import annotations

from math import exp2, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.stages.decide.state import TraitState

_MOST_HALF_LIVES = 1_000
"""A double ends there: what has decayed (or would grow back) further is 0 (or grown that far)."""

_SLACK_MS = 1_000
"""The logarithm is off by less than a few ms, even over centuries; the search makes it exact."""


def decayed(value: float, since: int, now: int, half_life_ms: int) -> float:
    """Return what ``value`` as of ``since`` has become at ``now``."""
    exponent = (since - now) / half_life_ms
    if exponent < -_MOST_HALF_LIVES:
        return 0.0
    return value * exp2(min(exponent, _MOST_HALF_LIVES))


def add_score(state: TraitState, weight: float, at: int, half_life_ms: int) -> None:
    """Add a hit of ``weight`` at ``at``; a late one counts for what is left of it."""
    value = state.value if isinstance(state.value, float) else 0.0
    as_of = max(state.at, at) if value else at
    state.value = decayed(value, state.at, as_of, half_life_ms) + decayed(
        weight, at, as_of, half_life_ms
    )
    state.at = as_of


def current(state: TraitState, now: int, half_life_ms: int) -> float:
    """Return the score at ``now``."""
    if not isinstance(state.value, float):
        return 0.0
    return decayed(state.value, state.at, now, half_life_ms)


def next_change(
    state: TraitState, now: int, half_life_ms: int, bound: float, truth: Callable[[float], bool]
) -> int | None:
    """Return the first instant after ``now`` at which decay alone changes a truth about ``bound``.

    A score moves towards 0 and never beyond: only a bound between it and 0 is ever crossed.
    """
    value = current(state, now, half_life_ms)
    if not bound or not value or (bound < 0) != (value < 0) or abs(bound) > abs(value):
        return None
    # Never by a quotient: one of a tiny bound rounds to -0.0 or overflows.
    half_lives = log2(abs(value)) - log2(abs(bound))
    end = state.at + _MOST_HALF_LIVES * half_life_ms
    guess = min(now + int(half_lives * half_life_ms), end)
    before = truth(value)
    size = abs(bound)
    reached = _first(lambda at: abs(current(state, at, half_life_ms)) <= size, now, guess)
    passed = _first(lambda at: abs(current(state, at, half_life_ms)) < size, now, guess)
    for instant in (reached, passed):
        if instant > now and truth(current(state, instant, half_life_ms)) != before:
            return instant
    return None


def _first(reached: Callable[[int], bool], now: int, guess: int) -> int:
    """Return the first instant >= ``now`` at which ``reached``; it stays true once it is."""
    low, high = max(guess - _SLACK_MS, now - 1), guess + _SLACK_MS
    while high - low > 1:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return high
