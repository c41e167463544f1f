"""Silences: an absence starts a journey when nothing was heard for a while, once per silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.decide.timers import due_names

if TYPE_CHECKING:
    from orchestrator.expressions.durations import Duration
    from orchestrator.stages.decide.state import Customer
    from orchestrator.stages.decide.turn import Turn


def arm(turn: Turn, journey: str, since: int, span: Duration, earliest: int = 0) -> None:
    """Let a silence that lasts ``since`` an instant start a journey when it has lasted ``span``."""
    due = turn.calendar.add(since, span)
    turn.customer.absences[journey] = due if due > turn.now else earliest
    turn.customer.silences[journey] = since
    turn.customer.scheduled.pop(journey, None)  # the silence that ``existing`` saw is over


def disarm(customer: Customer, journey: str) -> None:
    """Forget a silence."""
    customer.absences.pop(journey, None)
    customer.silences.pop(journey, None)


def rearm(turn: Turn) -> None:
    """Let silences under way end by the customer's new zone; one that is over by now ends next."""
    for name, since in turn.customer.silences.items():
        journey = turn.catalog.journeys.get(name)
        if journey is not None and journey.entry.absence_for is not None:
            due = turn.calendar.add(since, journey.entry.absence_for)
            turn.customer.absences[name] = max(due, turn.now + 1)


def over(customer: Customer, now: int) -> list[str]:
    """Take out the silences that are over; return their journeys by name."""
    names = due_names(customer.absences, now)
    for name in names:
        customer.silences.pop(name, None)
    return names
