"""Entry conditions (``when``): true now and false before starts an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.stages.catalog import Catalog, Journey
    from orchestrator.stages.decide.turn import Turn


def rising(turn: Turn, *, all_of_them: bool) -> list[str]:
    """Return, by name, the journeys whose condition has become true; keep the truth of each.

    Only conditions that read what changed are asked, unless ``all_of_them`` is wanted.
    """
    catalog = turn.catalog
    names = catalog.entries_when
    if not names:
        return []
    if not all_of_them:
        names = _readers(turn)
    return [name for name in names if _update(turn, catalog.journeys[name])]


def _readers(turn: Turn) -> tuple[str, ...]:
    """Return, in their order, the journeys whose condition reads what changed."""
    changed, index = turn.changed, _index(turn.catalog)
    if not changed and not turn.consent_changed:
        return ()
    found = set(index.at_any_change)
    if turn.consent_changed:
        found |= index.by_consent
    for name in changed:
        found |= index.by_trait.get(name, _NONE)
    return tuple(name for name in turn.catalog.entries_when if name in found) if found else ()


class _Index(NamedTuple):
    """Which conditions read what: so that the others cost nothing."""

    by_trait: Mapping[str, frozenset[str]]
    by_consent: frozenset[str]
    at_any_change: frozenset[str]
    """They ask for events (``count``, ``last``)."""


_NONE: frozenset[str] = frozenset()


def _index(catalog: Catalog) -> _Index:
    index: _Index | None = catalog.derived.get("when")
    if index is None:
        index = catalog.derived["when"] = _indexed(catalog)
    return index


def _indexed(catalog: Catalog) -> _Index:
    whens = {name: catalog.journeys[name].entry.when for name in catalog.entries_when}
    reads = {name: when.references for name, when in whens.items() if when is not None}
    traits = {trait for one in reads.values() for trait in one.traits}
    return _Index(
        by_trait={
            trait: frozenset(name for name, one in reads.items() if trait in one.traits)
            for trait in traits
        },
        by_consent=frozenset(name for name, one in reads.items() if one.consents),
        at_any_change=frozenset(name for name, one in reads.items() if one.counts or one.lasts),
    )


def _update(turn: Turn, journey: Journey) -> bool:
    """Keep the truth of a condition as it is now; return whether it has become true."""
    when, truths = journey.entry.when, turn.customer.truths
    true = when is not None and when.holds(turn.at(None))
    if true == (journey.name in truths):
        return False
    if true:
        truths[journey.name] = True
    else:
        del truths[journey.name]
        turn.customer.scheduled.pop(journey.name, None)  # no longer one of the ``existing``
    return true


def record(turn: Turn) -> None:
    """Record how every condition stands, and start nothing."""
    known = turn.catalog.entries_when
    for name in list(turn.customer.truths):
        if name not in known:
            del turn.customer.truths[name]
    for name in known:
        _update(turn, turn.catalog.journeys[name])
