"""Entry conditions (``when``): true now and false before starts an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey
    from orchestrator.stages.decide.turn import Turn


def rising(turn: Turn, *, all_of_them: bool) -> list[str]:
    """Return, by name, the journeys whose condition has become true; keep the truth of each.

    Only conditions that read what changed are asked, unless ``all_of_them`` is wanted.
    """
    names = turn.catalog.entries_when
    if not names or not (all_of_them or turn.changed or turn.consent_changed):
        return []
    started = []
    for name in names:
        journey = turn.catalog.journeys[name]
        if not all_of_them and not _reads_change(turn, journey):
            continue
        if _update(turn, journey):
            started.append(name)
    return started


def _reads_change(turn: Turn, journey: Journey) -> bool:
    when = journey.entry.when
    return when is not None and (
        bool(when.references.consents and turn.consent_changed)
        or not when.references.traits.isdisjoint(turn.changed)
        or bool(when.references.counts or when.references.lasts)
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
    return true


def record(turn: Turn) -> None:
    """Record how every condition stands, and start nothing."""
    known = turn.catalog.entries_when
    for name in list(turn.customer.truths):
        if name not in known:
            del turn.customer.truths[name]
    for name in known:
        _update(turn, turn.catalog.journeys[name])
