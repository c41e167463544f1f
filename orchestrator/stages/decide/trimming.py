"""A state that grew beyond 64 KB gives up history, oldest first; never counters, never consent.

What goes first decides least: sends that no rule counts any more (that a message was ever sent is
kept), then the memory of event ids beyond the last 32. What rules count stays, whatever its size:
caps are exact, and the engine's guard at 256 KB is the last word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.decide import history, seen, state

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.state import Customer

MOST_BYTES = 65_536
_ROWS = 128
"""Sends, entries and values below which a state cannot be that large: it is not even measured."""


def hold(customer: Customer, now: int, catalog: Catalog) -> None:
    """Trim a customer that has grown too large; at a moment that the log gives, to the same bytes."""
    if _rows(customer) <= _ROWS or len(state.encode(customer)) <= MOST_BYTES:
        return
    keep = history.KEPT
    while keep and len(state.encode(customer)) > MOST_BYTES:
        keep //= 2
        history.trim(customer, now, catalog, keep)
    if len(state.encode(customer)) > MOST_BYTES:
        seen.forget_all_but_least(customer.profile)


def _rows(customer: Customer) -> int:
    traits = customer.profile.traits.values()
    values = sum(len(one.open) + len(one.hits) + len(one.older) for one in traits)
    entries, past = len(customer.entries), len(customer.past)
    ids = len(customer.profile.seen) // seen.ID_BYTES
    return len(customer.sends) + 8 * entries + past + (values + ids) // 4
