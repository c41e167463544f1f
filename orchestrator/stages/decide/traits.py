"""Traits: what events make of a profile.

Windows, ``last`` and ``first`` go by occurred_at, so late and backfilled events find their place;
counters and open values go by arrival. A null, or a value of another type than declared, is no
value: such an event leaves last, first, min, max, sum and set as they are. Only an explicit null in
``customer.updated`` (or in a ``set`` step) clears, and only plain traits.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from orchestrator.stages.decide import scores, windows
from orchestrator.stages.decide.bounds import surplus, too_long
from orchestrator.stages.decide.concerns import concern_of
from orchestrator.stages.decide.event_time import event_time
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.state import TraitState
from orchestrator.stages.decide.trait_values import NEVER_SEEN, stored
from orchestrator.stages.decide.values import add, fit, fits, is_number, order

if TYPE_CHECKING:
    from orchestrator.expressions.scope import Value as ExpressionValue
    from orchestrator.records import Event, Value
    from orchestrator.stages.catalog import Catalog, Trait
    from orchestrator.stages.decide.concerns import Concern
    from orchestrator.stages.decide.state import Customer

MOST_OPEN = 256
"""Distinct open values of an ``up`` trait; the one seen longest ago goes first."""


def apply_event(
    customer: Customer, event: Event, now: int, catalog: Catalog, scope: CustomerScope
) -> set[str]:
    """Apply ``event`` to all traits; return the names of those whose value changed.

    Trackers of live expressions are among them (``#TYPE/WINDOW_MS``, ``@TYPE``). ``scope`` must hold
    the event (``set_event``) and ``now``.
    """
    concern = concern_of(catalog, event.type)
    return learn(customer, concern, event.type, event_time(event, now), now, catalog, scope)


def learn(
    customer: Customer,
    concern: Concern,
    type_: str,
    at: int,
    now: int,
    catalog: Catalog,
    scope: CustomerScope,
) -> set[str]:
    """Do what ``apply_event`` does, with what is known already: ``at`` = when it happened."""
    changed: set[str] = set()
    if concern.updates:
        changed = _update(customer, scope, at, catalog)
    for trait in concern.traits:
        if trait.condition is not None and not trait.condition.holds(scope):
            continue
        known = stored(customer.profile, trait)
        state = TraitState() if known is NEVER_SEEN else known
        if _feed(trait, state, type_, at, now, scope):
            changed.add(trait.name)
        if known is NEVER_SEEN and state != NEVER_SEEN:
            customer.profile.traits[trait.name] = state
    if concern.trackers:
        changed |= _track(customer, concern.trackers, at, now)
    if changed and zone_may_have_moved(catalog, changed):
        scope.forget_zone()
    return changed


def zone_may_have_moved(catalog: Catalog, changed: set[str]) -> bool:
    """Whether the customer's zone may be another one after these traits changed."""
    name = catalog.timezone_trait
    if name is None:
        return False
    trait = catalog.traits.get(name)
    return name in changed or (trait is not None and trait.expression is not None)


# ------------------------------------------------------------------------------- plain traits


def set_trait(
    customer: Customer, name: str, value: ExpressionValue, now: int, catalog: Catalog
) -> bool:
    """Set a plain trait by a ``set`` step; return whether its value changed. Null clears."""
    trait = catalog.traits.get(name)
    if trait is None or trait.kind != "plain":
        return False
    fitted = fit(value, trait.type, CustomerScope("", customer, catalog, now).calendar)
    if fitted is None and value is not None:
        return False
    former = customer.profile.traits.get(name)
    return _write(customer, name, fitted, now if former is None else max(now, former.at))


def _update(customer: Customer, scope: CustomerScope, at: int, catalog: Catalog) -> set[str]:
    changed: set[str] = set()
    properties = scope.event_properties
    zone = catalog.timezone_trait
    # The zone first: dates beside it are meant in the new one.
    names = properties if zone is None or zone not in properties else [zone, *properties]
    for name in names:
        trait = catalog.traits.get(name)
        if trait is None or trait.kind != "plain":
            continue
        value = properties[name]
        fitted = value if fits(value, trait.type) else fit(value, trait.type, scope.calendar)
        if (fitted is not None or value is None) and _write(customer, name, fitted, at):
            changed.add(name)
            if zone_may_have_moved(catalog, changed):
                scope.forget_zone()
    return changed


def _write(customer: Customer, name: str, value: Value, at: int) -> bool:
    if too_long(value):
        return False
    state = customer.profile.traits.get(name)
    if state is None:
        customer.profile.traits[name] = TraitState(value=value, at=at)
        return value is not None
    if at < state.at:
        return False
    changed = state.value != value or type(state.value) is not type(value)
    state.value, state.at = value, at
    return changed


# ---------------------------------------------------------------------------- computed traits


def _feed(  # noqa: PLR0911 - one per kind
    trait: Trait, state: TraitState, type_: str, at: int, now: int, scope: CustomerScope
) -> bool:
    match trait.kind:
        case "count":
            return _count(trait, state, at, now)
        case "sum":
            return _sum(trait, state, at, now, scope)
        case "score":
            weight = trait.scores.get(type_, 0.0)
            scores.add_score(state, weight, at, trait.half_life_ms or 1)
            return weight != 0
        case "up":
            return _up(trait, state, type_, at, scope)
        case "set":
            value = _taken(trait, at, scope)
            return value is not None and sight(state, value, at, trait.limit)
        case "last" | "first" | "min" | "max":
            value = _taken(trait, at, scope)
            return value is not None and _keep(trait, state, value, at)
        case _:
            return False


def _taken(trait: Trait, at: int, scope: CustomerScope) -> Value:
    if trait.take is None:
        return at
    value = fit(trait.take.evaluate(scope), trait.type, scope.calendar)
    return None if too_long(value) else value


def _keep(trait: Trait, state: TraitState, value: Value, at: int) -> bool:
    former = state.value
    if former is not None:
        match trait.kind:
            case "last":
                better = at >= state.at
            case "first":
                better = at < state.at
            case "min":
                better = order(value) < order(former)
            case _:
                better = order(value) > order(former)
        if not better:
            return False
    state.value, state.at = value, at
    return former is None or order(former) != order(value)


def _count(trait: Trait, state: TraitState, at: int, now: int) -> bool:
    if trait.window_ms is not None:
        return windows.add_hit(state, at, None, trait.window_ms, now)
    state.value = add(state.value if is_number(state.value) else 0, 1)
    return True


def _sum(trait: Trait, state: TraitState, at: int, now: int, scope: CustomerScope) -> bool:
    amount = (
        1 if trait.take is None else fit(trait.take.evaluate(scope), trait.type, scope.calendar)
    )
    if not is_number(amount):
        return False
    if trait.window_ms is not None:
        return windows.add_hit(state, at, amount, trait.window_ms, now) and amount != 0
    state.value = add(state.value if is_number(state.value) else 0, amount)
    return amount != 0


def _up(trait: Trait, state: TraitState, type_: str, at: int, scope: CustomerScope) -> bool:
    if trait.by is None:
        value = state.value if is_number(state.value) else 0
        step = 1 if type_ in trait.on else -1
        state.value = max(add(value, step), 0)
        return state.value != value
    key = fit(trait.by.evaluate(scope), "any", scope.calendar)
    if key is None or too_long(key):
        return False
    if type_ in trait.on:
        return sight(state, key, at, MOST_OPEN)
    place = find(state, key)
    if place is None:
        return False
    _drop(state, place)
    return True


# ------------------------------------------------------------------------------ distinct values


def find(state: TraitState, value: Value) -> int | None:
    """Return the place of ``value`` among the distinct values; None if it is not there.

    1, 1.0 and true are equal in Python, but they are not the same value.
    """
    place = -1
    try:
        while True:
            place = state.open.index(value, place + 1)
            if type(state.open[place]) is type(value):
                return place
    except ValueError:
        return None


def sight(state: TraitState, value: Value, at: int, limit: int) -> bool:
    """Note that ``value`` was seen at ``at``; keep the newest; return whether they changed.

    They lie in the order of when they were last seen, then of their value: whatever the order of
    arrival, the same values are kept.
    """
    former = find(state, value)
    if former is not None:
        if at <= state.hits[former]:
            return False
        _drop(state, former)
    place = bisect_left(state.hits, at)
    while (
        place < len(state.hits)
        and state.hits[place] == at
        and order(state.open[place]) < order(value)
    ):
        place += 1
    state.open = windows.inserted(state.open, place, value)
    state.hits = windows.inserted(state.hits, place, at)
    gone = surplus(state, limit)
    if gone:
        state.open, state.hits = state.open[gone:], state.hits[gone:]
        return place >= gone or gone > 1
    return former is None


def _drop(state: TraitState, place: int) -> None:
    state.open = (*state.open[:place], *state.open[place + 1 :])
    state.hits = (*state.hits[:place], *state.hits[place + 1 :])


# ----------------------------------------------------------------- what live expressions ask


def _track(
    customer: Customer, trackers: tuple[tuple[str, int], ...], at: int, now: int
) -> set[str]:
    changed: set[str] = set()
    traits = customer.profile.traits
    for name, window_ms in trackers:
        state = traits.get(name) or TraitState()
        if window_ms:
            better = windows.add_hit(state, at, None, window_ms, now)
        else:
            better = name not in traits or at > state.at
            state.at = max(state.at, at)
        if better:
            changed.add(name)
            traits[name] = state
    return changed
