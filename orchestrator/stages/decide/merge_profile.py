"""Two profiles that turn out to be one customer's: 2-semantics 2.7, without regard to who wins.

The result does not depend on the order or the grouping of merges (sums to 1e-9), and the same merge
twice is one. What is not the profile's (entries, sends, timers) is merged elsewhere.
"""

from __future__ import annotations

from copy import copy
from heapq import merge as interleave
from typing import TYPE_CHECKING

from orchestrator.ids import BUCKETS
from orchestrator.stages.decide import consent, scores, seen, windows
from orchestrator.stages.decide.state import Profile, TraitState
from orchestrator.stages.decide.trait_values import NEVER_SEEN, shaped
from orchestrator.stages.decide.traits import MOST_OPEN, sight
from orchestrator.stages.decide.values import add, is_number, order

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog, Trait


def merge(one: Profile, other: Profile, merge_id: str, catalog: Catalog) -> Profile:
    """Return the profile of both; ``one`` itself if it has absorbed ``merge_id`` already.

    ``lifecycle`` is kept where both agree and is else empty: the caller evaluates it anew, from the
    winner's former one. Neither profile is changed.
    """
    if merge_id in one.absorbed:
        return one
    names = sorted({*one.traits, *other.traits})
    ids, times = _seen(one, other)
    return Profile(
        traits={name: _trait(name, one, other, catalog) for name in names},
        consent=consent.unite([*one.consent, *other.consent]),
        unusable={
            channel: consent.fewest(
                {*one.unusable.get(channel, ()), *other.unusable.get(channel, ())}
            )
            for channel in sorted({*one.unusable, *other.unusable})
        },
        lifecycle=one.lifecycle if one.lifecycle == other.lifecycle else "",
        seen=ids,
        seen_at=times,
        holdout={
            salt: min(one.holdout.get(salt, BUCKETS), other.holdout.get(salt, BUCKETS))
            for salt in sorted({*one.holdout, *other.holdout})
        },
        absorbed=tuple(sorted({*one.absorbed, *other.absorbed, merge_id})),
    )


def _trait(  # noqa: PLR0911 - one per kind of state
    name: str, one: Profile, other: Profile, catalog: Catalog
) -> TraitState:
    left, right = (profile.traits.get(name, NEVER_SEEN) for profile in (one, other))
    if left is NEVER_SEEN or right is NEVER_SEEN:
        return _copy(left if right is NEVER_SEEN else right)
    if name.startswith("#"):
        return _window(left, right, int(name.rpartition("/")[2]))
    if name.startswith("@"):
        return _copy(max(left, right, key=lambda state: state.at))
    trait = catalog.traits.get(name)
    if trait is None:
        return _by_last_write(left, right)
    if shaped(trait, left) != shaped(trait, right):
        return _copy(left if shaped(trait, left) else right)
    if not shaped(trait, left):
        return _by_last_write(left, right)
    return _declared(trait, left, right)


def _declared(  # noqa: PLR0911 - one per kind
    trait: Trait, left: TraitState, right: TraitState
) -> TraitState:
    match trait.kind:
        case "count" | "sum" if trait.window_ms is not None:
            return _window(left, right, trait.window_ms)
        case "up" if trait.by is not None:
            return _distinct(left, right, MOST_OPEN)
        case "count" | "sum" | "up":
            return TraitState(value=add(_number(left), _number(right)))
        case "set":
            return _distinct(left, right, trait.limit)
        case "score":
            return _score(left, right, trait.half_life_ms or 1)
        case "first" | "min" | "max":
            return _extreme(trait.kind, left, right)
        case _:
            return _by_last_write(left, right)


def _copy(state: TraitState) -> TraitState:
    return copy(state)


def _number(state: TraitState) -> float:
    return state.value if is_number(state.value) else 0


def _by_last_write(left: TraitState, right: TraitState) -> TraitState:
    return _copy(max(left, right, key=lambda state: (state.at, order(state.value))))


def _extreme(kind: str, left: TraitState, right: TraitState) -> TraitState:
    if left.value is None or right.value is None:
        return _copy(left if right.value is None else right)
    match kind:
        case "first":
            chosen = min(left, right, key=lambda state: (state.at, order(state.value)))
        case "min":
            chosen = min(left, right, key=lambda state: (order(state.value), state.at))
        case _:
            chosen = max(left, right, key=lambda state: (order(state.value), state.at))
    return _copy(chosen)


def _score(left: TraitState, right: TraitState, half_life_ms: int) -> TraitState:
    as_of = max(left.at, right.at)
    total = sum(
        scores.current(state, as_of, half_life_ms)
        for state in sorted((left, right), key=lambda state: (state.at, order(state.value)))
    )
    return TraitState(value=float(total), at=as_of)


def _distinct(left: TraitState, right: TraitState, limit: int) -> TraitState:
    result = _copy(left)
    for value, at in zip(right.open, right.hits, strict=True):
        sight(result, value, at, limit)
    return result


def _window(left: TraitState, right: TraitState, window_ms: int) -> TraitState:
    """Interleave the hits of both; the newest 256 stay exact, as if they had arrived together."""
    result = TraitState()
    pairs = sorted([*_pairs(left), *_pairs(right)])
    result.hits = tuple(at for at, _ in pairs)
    if left.amounts or right.amounts:
        result.amounts = tuple(amount for _, amount in pairs)
    buckets: dict[int, float] = {}
    for end, amount in interleave(
        zip(left.older, left.older_amounts, strict=True),
        zip(right.older, right.older_amounts, strict=True),
    ):
        buckets[end] = add(buckets.get(end, 0), amount)
    result.older, result.older_amounts = tuple(buckets), tuple(buckets.values())
    windows.overflow(result, window_ms)
    return result


def _pairs(state: TraitState) -> list[tuple[int, float]]:
    amounts = state.amounts or [1] * len(state.hits)
    return list(zip(state.hits, amounts, strict=True))


def _seen(one: Profile, other: Profile) -> tuple[bytes, bytes]:
    """Unite both memories by time, each id once, as of its first arrival; the newest 1,000."""
    first: dict[bytes, bytes] = {}
    for profile in (one, other):
        for key, at in seen.remembered(profile):
            first[key] = min(at, first.get(key, at))
    newest = sorted((at, key) for key, at in first.items())[-seen.MOST :]
    return b"".join(key for _, key in newest), b"".join(at for at, _ in newest)
