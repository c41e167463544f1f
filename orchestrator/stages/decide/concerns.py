"""What an event type means under a catalog, worked out once: what nobody listens to costs a look-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.expressions.durations import Duration
from orchestrator.records import RECEIPT_TYPES
from orchestrator.stages.decide.consent import CONSENT_TYPES
from orchestrator.stages.decide.trait_values import count_key, last_key

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog, Trait
    from orchestrator.stages.decide.state import Customer

UPDATED = "customer.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """What an event of one type means by itself, whoever the customer is."""

    receipt: bool
    consent: bool
    updates: bool
    """It sets plain traits."""
    traits: tuple[Trait, ...]
    """Those that it feeds."""
    trackers: tuple[tuple[str, int], ...]
    """What live expressions ask about it: (name among the traits, window in ms; 0 = ``last``)."""
    entries: tuple[str, ...]
    """Journeys that it may start."""
    absences: tuple[tuple[str, Duration], ...]
    """Journeys that its absence starts, and after what time."""
    starts: bool
    """Whether it, or its absence, may start a journey."""


NOTHING = Concern(
    receipt=False,
    consent=False,
    updates=False,
    traits=(),
    trackers=(),
    entries=(),
    absences=(),
    starts=False,
)


def concern_of(catalog: Catalog, type_: str) -> Concern:
    """Return what events of a type mean; ``NOTHING``: by themselves nothing."""
    concerns: dict[str, Concern] | None = catalog.derived.get("concerns")
    if concerns is None:
        concerns = {each: _concern(catalog, each) for each in _types(catalog)}
        catalog.derived["concerns"] = concerns
    return concerns.get(type_, NOTHING)


def _types(catalog: Catalog) -> set[str]:
    return {
        UPDATED,
        *RECEIPT_TYPES,
        *CONSENT_TYPES,
        *catalog.traits_by_event,
        *catalog.lasts,
        *(type_ for type_, _ in catalog.counts),
        *catalog.entries_by_event,
        *catalog.absences_by_event,
    }


def _concern(catalog: Catalog, type_: str) -> Concern:
    windows = sorted(window for counted, window in catalog.counts if counted == type_)
    trackers = [(count_key(type_, window), window) for window in windows]
    if type_ in catalog.lasts:
        trackers.append((last_key(type_), 0))
    absences = [catalog.journeys[name] for name in catalog.absences_by_event.get(type_, ())]
    return Concern(
        receipt=type_ in RECEIPT_TYPES,
        consent=type_ in CONSENT_TYPES,
        updates=type_ == UPDATED,
        traits=tuple(catalog.traits[name] for name in catalog.traits_by_event.get(type_, ())),
        trackers=tuple(trackers),
        entries=tuple(catalog.entries_by_event.get(type_, ())),
        absences=tuple((one.name, one.entry.absence_for or Duration()) for one in absences),
        starts=type_ in catalog.entries_by_event or bool(absences),
    )


def moves_entries(type_: str, customer: Customer, now: int, catalog: Catalog) -> bool:
    """Whether an event may mean something to what the customer is, or was, in the midst of."""
    for entry in customer.entries:
        journey = catalog.journey(entry.journey, entry.version)
        if journey is None or type_ in journey.listens:
            return True
    return bool(customer.past) and reaches_goals(type_, customer, now, catalog)


def reaches_goals(type_: str, customer: Customer, now: int, catalog: Catalog) -> bool:
    """Whether an event may reach a goal that is still counted after its entry's end."""
    for place, past in customer.past.items():
        if past.goal_until > now:
            journey = catalog.journey(place.partition("\x1f")[0], past.version)
            if journey is not None and journey.goal is not None:
                pattern = journey.goal.pattern
                if type_ in pattern.on or pattern.when is not None:
                    return True
    return False
