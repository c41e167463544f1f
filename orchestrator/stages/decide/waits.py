"""Waits: when they end, and what ends them earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.catalog import Wait, WaitFor
from orchestrator.stages.decide.bounds import context, short
from orchestrator.stages.decide.matching import holds, matches
from orchestrator.stages.decide.state import Hit
from orchestrator.stages.timestamps import to_instant

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey, Step
    from orchestrator.stages.decide.matching import Occurrence
    from orchestrator.stages.decide.state import Entry
    from orchestrator.stages.decide.turn import Turn

MAX_RESTARTS = 100


def deadline(turn: Turn, entry: Entry, wait: Wait) -> int | None:
    """Return when a wait that began at ``entry.arrived`` ends; None = its date is missing.

    With ``until`` a date without time gets ``at`` first; ``plus`` and ``minus`` count from there.
    """
    calendar = turn.calendar
    if wait.duration is not None:
        return calendar.add(entry.arrived, wait.duration)
    if wait.next_time is not None:
        return calendar.next_time(entry.arrived, wait.next_time, wait.weekdays)
    value = wait.until(turn.at(entry)) if wait.until is not None else None
    instant = None if isinstance(value, list) else to_instant(value, calendar)
    if instant is None:
        return None
    if wait.at is not None:
        instant = calendar.date_at(instant, wait.at)
    if wait.plus is not None:
        instant = calendar.add(instant, wait.plus)
    if wait.minus is not None:
        instant = calendar.subtract(instant, wait.minus)
    return instant


def park(turn: Turn, entry: Entry, step: Step, wait: WaitFor) -> int | None:
    """Park an entry at a ``wait_for``; return the number of a pattern that matches at once.

    The event that moved the entry here does not count; a condition that is true already does, and
    with ``since: entry`` so does what happened before.
    """
    entry.hits = tuple(
        hit
        for hit in entry.hits
        if hit.step != step.id or (wait.since == "entry" and hit.cause != short(turn.cause))
    )
    entry.restarts = 0
    entry.wake = turn.calendar.add(entry.arrived, wait.timeout)
    return observe(turn, entry, step, wait)


def observe(turn: Turn, entry: Entry, step: Step, wait: WaitFor) -> int | None:
    """Look at stored hits and at conditions; return the pattern that wins a ``first`` now."""
    if wait.mode == "first":
        stored = [hit for hit in entry.hits if hit.step == step.id]
        if stored:
            return min(stored, key=lambda hit: (hit.at, hit.pattern)).pattern
    for number, pattern in enumerate(wait.patterns):
        if holds(turn, pattern, entry):
            if wait.mode == "first":
                return number
            _store(entry, Hit(step=step.id, pattern=number, at=turn.now, cause=short(turn.cause)))
    return None


def hear(turn: Turn, entry: Entry, step: Step, wait: WaitFor, occurrence: Occurrence) -> int | None:
    """Show an event to the wait at which an entry is parked; return the pattern that wins now."""
    event = occurrence.event
    for number, pattern in enumerate(wait.patterns):
        if matches(turn, pattern, entry, occurrence):
            if wait.mode == "first":
                return number
            _store(entry, _hit(step, number, turn, occurrence))
            return None
    if event.type in wait.restart and entry.restarts < MAX_RESTARTS:
        entry.restarts += 1
        entry.arrived = turn.now
        entry.wake = turn.calendar.add(turn.now, wait.timeout)
        entry.latest = context(turn.customer, occurrence.properties)
    return None


def remember(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence) -> None:
    """Keep the first hits for the waits with ``since: entry`` at which the entry is not parked."""
    kind = occurrence.event.type
    for step in journey.steps.values():
        wait = step.do
        if not isinstance(wait, WaitFor) or wait.since != "entry":
            continue
        if step.id == entry.step and entry.waiting:
            continue
        for number, pattern in enumerate(wait.patterns):
            if kind in pattern.on and matches(turn, pattern, entry, occurrence):
                _store(entry, _hit(step, number, turn, occurrence))


def best(entry: Entry, step: Step) -> Hit | None:
    """Return the hit of the highest rank at the timeout of a ``best``."""
    stored = [hit for hit in entry.hits if hit.step == step.id]
    return min(stored, key=lambda hit: hit.pattern) if stored else None


def stored_hit(entry: Entry, step: Step, number: int) -> Hit | None:
    """Return the stored hit of one pattern."""
    for hit in entry.hits:
        if hit.step == step.id and hit.pattern == number:
            return hit
    return None


def _hit(step: Step, number: int, turn: Turn, occurrence: Occurrence) -> Hit:
    return Hit(
        step=step.id,
        pattern=number,
        at=turn.now,
        properties=context(turn.customer, occurrence.properties),
        cause=short(turn.cause),
    )


def _store(entry: Entry, hit: Hit) -> None:
    for known in entry.hits:
        if known.step == hit.step and known.pattern == hit.pattern:
            return
    entry.hits = (*entry.hits, hit)
