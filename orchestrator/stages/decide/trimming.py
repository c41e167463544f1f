"""A state that grew beyond 64 KB gives up history, oldest first; never counters, never consent.

What goes first decides least: sends that no rule counts any more (that a message was ever sent is
kept), the memory of event ids beyond the last 32, ended entries beyond 64, traits that the catalog no
longer has, the exact hits of windows (they stay in buckets), older values of sets, and what live
entries hold of events. What rules count stays: caps are exact, and the engine's guard at 256 KB is
the last word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.decide import bounds, history, seen, state, windows
from orchestrator.stages.decide.trait_values import count_key

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.state import Customer

MOST_BYTES = 65_536
_MOST_ENTRIES, _MOST_PAST, _MOST_IDS = 8, 64, 256
"""Below these there is no history worth trimming: such a state is not even measured."""
_EXACT = 32
_SET_BYTES = 2_048
_CONTEXT_BYTES = 128
_SOMETIMES = 8
"""Of 256: how often a state is measured for what else may have made it large."""


def hold(customer: Customer, now: int, catalog: Catalog) -> None:
    """Trim a customer that has grown too large; at a moment that the log gives, to the same bytes."""
    if not (_may_be_large(customer) and _is_large(customer)):
        return
    for forget in (_sends, _ids, _ended, _undeclared, _hits, _values, _contexts):
        forget(customer, now, catalog)
        if not _is_large(customer):
            break


def _is_large(customer: Customer) -> bool:
    return len(state.encode(customer)) > MOST_BYTES


def _may_be_large(customer: Customer) -> bool:
    ids = customer.profile.seen
    return (
        len(customer.sends) > history.KEPT
        or len(customer.entries) > _MOST_ENTRIES
        or len(customer.past) > _MOST_PAST
        or len(ids) > _MOST_IDS * seen.ID_BYTES
        # Values of traits: measured at one event of 32, which the log alone chooses.
        or not ids
        or ids[-1] < _SOMETIMES
    )


# Each gives up one kind of history, oldest first.


def _sends(customer: Customer, now: int, catalog: Catalog) -> None:
    keep = history.KEPT
    while keep and _is_large(customer):
        keep //= 2
        history.trim(customer, now, catalog, keep)


def _ids(customer: Customer, now: int, catalog: Catalog) -> None:
    del now, catalog
    seen.forget_all_but_least(customer.profile)


def _ended(customer: Customer, now: int, catalog: Catalog) -> None:
    """Keep the newest 64 and those whose goal is still counted."""
    del catalog
    past = customer.past
    oldest = sorted(past, key=lambda key: (past[key].ended, key))
    for key in oldest[: max(len(past) - _MOST_PAST, 0)]:
        if past[key].goal_until <= now:
            del past[key]


def _undeclared(customer: Customer, now: int, catalog: Catalog) -> None:
    """Forget traits that the catalog no longer has."""
    del now
    traits = customer.profile.traits
    for name in list(traits):
        if name not in catalog.traits and not name.startswith(("#", "@")):
            del traits[name]


def _hits(customer: Customer, now: int, catalog: Catalog) -> None:
    """Move the hits of windows into buckets, but for the newest 32."""
    del now
    spans = {t.name: t.window_ms for t in catalog.traits.values() if t.window_ms is not None}
    spans |= {count_key(*count): count[1] for count in catalog.counts}
    for name, state_ in customer.profile.traits.items():
        if name in spans:
            windows.overflow(state_, spans[name], _EXACT)


def _values(customer: Customer, now: int, catalog: Catalog) -> None:
    """Keep, of sets, 2 KB of the values seen last; what an ``up`` counts is none."""
    del now
    for trait in catalog.traits.values():
        state_ = customer.profile.traits.get(trait.name)
        if trait.kind == "set" and state_ is not None:
            gone = bounds.surplus(state_, trait.limit, _SET_BYTES)
            state_.open, state_.hits = state_.open[gone:], state_.hits[gone:]


def _contexts(customer: Customer, now: int, catalog: Catalog) -> None:
    """Keep, of the events of live entries, 128 bytes each."""
    del now, catalog
    for entry in customer.entries:
        entry.entry = bounds.bounded(entry.entry, _CONTEXT_BYTES)
        entry.latest = entry.latest and bounds.bounded(entry.latest, _CONTEXT_BYTES)
        for hit in entry.hits:
            hit.properties = bounds.bounded(hit.properties, _CONTEXT_BYTES)
        if not _is_large(customer):
            break
