"""What is at stake when something of a customer changes, worked out once per catalog.

A condition whose reads have not changed says what it said before: it need not be asked. Most events
change what no condition reads, so most events end with what they teach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.stages.catalog import Wait, WaitFor

if TYPE_CHECKING:
    from orchestrator.expressions import Expression
    from orchestrator.stages.catalog import Catalog, Journey


class Stakes(NamedTuple):
    """What conditions read: as long as none of it changes, neither do they."""

    traits: frozenset[str]
    consent: bool
    flags: bool
    """What became of sends."""
    anything: bool
    """They ask for events, for the time, or for what an entry heard last."""

    def touched(self, traits: set[str], *, consent: bool, flags: bool = False) -> bool:
        """Whether a change of these traits, of consent or of flags may change a condition."""
        return (
            self.anything
            or (consent and self.consent)
            or (flags and self.flags)
            or not self.traits.isdisjoint(traits)
        )


def stakes_of(catalog: Catalog) -> Stakes:
    """Return what matters of a customer who is in no journey: to lifecycle, entry conditions, zone."""
    stakes: Stakes | None = catalog.derived.get("stakes")
    if stakes is None:
        conditions = [rule.condition for rule in catalog.lifecycle]
        conditions += [catalog.journeys[name].entry.when for name in catalog.entries_when]
        stakes = catalog.derived["stakes"] = _stakes(conditions, catalog)
    return stakes


def stakes_in(journey: Journey, catalog: Catalog) -> Stakes:
    """Return what matters to an entry besides events: to goal, exits, and waits that follow a value."""
    known: dict[tuple[str, str], Stakes] = catalog.derived.setdefault("stakes of journeys", {})
    place = journey.name, journey.version
    stakes = known.get(place)
    if stakes is None:
        patterns = [*journey.exits]
        if journey.goal is not None:
            patterns.append(journey.goal.pattern)
        conditions = []
        for step in journey.steps.values():
            if isinstance(step.do, WaitFor):
                patterns += step.do.patterns
            elif isinstance(step.do, Wait):
                conditions.append(step.do.until)
        for pattern in patterns:
            if pattern.when is not None:
                conditions += [pattern.when, pattern.condition]
        stakes = known[place] = _stakes(conditions, catalog)
    return stakes


def _stakes(conditions: list[Expression | None], catalog: Catalog) -> Stakes:
    zone = catalog.timezone_trait or ""  # dates are meant in it
    if zone in catalog.traits:
        conditions.append(catalog.traits[zone].expression)
    reads = [one.references for one in conditions if one is not None]
    return Stakes(
        traits=frozenset({zone}).union(*(one.traits for one in reads)),
        consent=any(one.consents for one in reads),
        flags=any(one.flags for one in reads),
        anything=any(one.time or one.counts or one.lasts or one.latest for one in reads),
    )
