"""Reading stored traits, and the instant at which time alone changes what is read."""

from __future__ import annotations

from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING

from orchestrator.stages.decide import scores, windows
from orchestrator.stages.decide.state import TraitState
from orchestrator.stages.decide.values import fit, fits, is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.expressions.scope import Comparison
    from orchestrator.expressions.scope import Value as ExpressionValue
    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Trait
    from orchestrator.stages.decide.state import Profile

NEVER_SEEN = TraitState()
"""Stands for a trait that has no state; never changed."""

COMPARE: Mapping[Comparison, Callable[[float, float], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "==": eq,
    "!=": ne,
}


def count_key(type_: str, window_ms: int) -> str:
    """Return where ``count(type, window)`` is kept among the traits."""
    return f"#{type_}/{window_ms}"


def last_key(type_: str) -> str:
    """Return where ``last(type)`` is kept among the traits."""
    return f"@{type_}"


def shaped(trait: Trait, state: TraitState) -> bool:
    """Return whether ``state`` has the form that ``trait`` gives it.

    It has not when an earlier catalog had another kind of trait under that name: such a state is as
    good as none, and the trait begins anew.
    """
    if trait.window_ms is not None:
        return not state.open and len(state.amounts) == (
            len(state.hits) if trait.kind == "sum" else 0
        )
    if trait.kind == "set" or trait.by is not None:
        return len(state.open) == len(state.hits) and not state.older
    return not state.open and not state.hits


def stored(profile: Profile, trait: Trait) -> TraitState:
    """Return the state of ``trait``; ``NEVER_SEEN`` if there is none that fits."""
    state = profile.traits.get(trait.name)
    return NEVER_SEEN if state is None or not shaped(trait, state) else state


def read(trait: Trait, state: TraitState, now: int, calendar: Calendar) -> ExpressionValue:
    """Return the value of a stored trait (all kinds but ``expr``) at ``now``."""
    if trait.as_kept:
        value = (
            state.value if fits(state.value, trait.type) else fit(state.value, trait.type, calendar)
        )
        return trait.default if value is None else value
    match trait.kind:
        case "count" | "sum":
            return _number(_amount(trait, state, now), trait)
        case "up":
            return len(state.open) if trait.by is not None else _number(state.value, trait)
        case "score":
            return scores.current(state, now, trait.half_life_ms or 1)
        case _:  # set
            fitted = (fit(value, trait.type, calendar) for value in state.open)
            return [value for value in fitted if value is not None]


def _amount(trait: Trait, state: TraitState, now: int) -> object:
    return state.value if trait.window_ms is None else windows.total(state, trait.window_ms, now)


def _number(value: object, trait: Trait) -> int | float:
    if not is_number(value):
        value = 0
    return float(value) if trait.type == "double" else value


def when_crosses(
    trait: Trait, state: TraitState, now: int, comparison: Comparison, bound: float
) -> int | None:
    """Return the first instant after ``now`` at which time alone changes ``trait COMPARISON bound``."""
    compare = COMPARE[comparison]
    if trait.kind == "score":
        return scores.next_change(
            state, now, trait.half_life_ms or 1, bound, lambda value: compare(value, bound)
        )
    if trait.kind in {"count", "sum"} and trait.window_ms is not None:
        return windows.next_change(state, trait.window_ms, now, lambda value: compare(value, bound))
    return None
