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
_MOST_ENTRIES, _MOST_PAST, _MOST_IDS = 8, 64, 256
"""Below these there is no history worth trimming: such a state is not even measured."""


def hold(customer: Customer, now: int, catalog: Catalog) -> None:
    """Trim a customer that has grown too large; at a moment that the log gives, to the same bytes."""
    if not _may_be_large(customer) or len(state.encode(customer)) <= MOST_BYTES:
        return
    keep = history.KEPT
    while keep and len(state.encode(customer)) > MOST_BYTES:
        keep //= 2
        history.trim(customer, now, catalog, keep)
    if len(state.encode(customer)) > MOST_BYTES:
        seen.forget_all_but_least(customer.profile)


def _may_be_large(customer: Customer) -> bool:
    return (
        len(customer.sends) > history.KEPT
        or len(customer.entries) > _MOST_ENTRIES
        or len(customer.past) > _MOST_PAST
        or len(customer.profile.seen) > _MOST_IDS * seen.ID_BYTES
    )
