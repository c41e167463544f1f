"""Which events mean something: all others cost a look-up and their place among the seen ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.records import RECEIPT_TYPES
from orchestrator.stages.decide.consent import CONSENT_TYPES
from orchestrator.stages.decide.traits import UPDATED

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.state import Customer


class Relevance:
    """The event types that a catalog reads by itself, kept for the catalog used last."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._types: frozenset[str] = frozenset()

    def concerns(self, type_: str, customer: Customer, now: int, catalog: Catalog) -> bool:
        """Whether an event may change anything but the memory of seen events."""
        if catalog is not self._catalog:
            self._catalog, self._types = catalog, _types(catalog)
        if type_ in self._types or customer.first_seen == 0:
            return True
        for entry in customer.entries:
            journey = catalog.journey(entry.journey, entry.version)
            if journey is None or type_ in journey.listens:
                return True
        return any(past.goal_until > now for past in customer.past.values())


def _types(catalog: Catalog) -> frozenset[str]:
    return frozenset(
        {
            UPDATED,
            *RECEIPT_TYPES,
            *CONSENT_TYPES,
            *catalog.traits_by_event,
            *catalog.lasts,
            *(type_ for type_, _ in catalog.counts),
            *catalog.entries_by_event,
            *catalog.absences_by_event,
        }
    )
