"""Timers as data: when a customer is next due, and what happens then.

Timers of one instant: trait and lifecycle crossings, max_life, waits, releases; then entry id. All
sends that come due at that instant compete together. (A goal's window needs no timer: it is looked
at when a goal is reached.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.stages.catalog import Wait, WaitFor
from orchestrator.stages.decide import lifecycle
from orchestrator.stages.decide.entries import end
from orchestrator.stages.decide.reactions import past_goal_watch, recheck
from orchestrator.stages.decide.steps import go_on, timed_out
from orchestrator.stages.decide.waits import deadline

if TYPE_CHECKING:
    from orchestrator.expressions import Expression
    from orchestrator.stages.catalog import Catalog, Journey
    from orchestrator.stages.decide.state import Customer, Entry
    from orchestrator.stages.decide.turn import Turn


def next_due(customer: Customer) -> int:
    """Return the earliest of all timers; 0 = none."""
    instants = [customer.watch, *customer.absences.values(), *customer.scheduled.values()]
    for entry in customer.entries:
        instants += (entry.wake, entry.ends_at, entry.watch)
        if entry.pending is not None:
            instants.append(entry.pending.due)
    return min(filter(None, instants), default=0)


def due_names(timers: dict[str, int], now: int) -> list[str]:
    """Take out the timers that are due; return their journeys by name."""
    names = sorted(name for name, due in timers.items() if due <= now)
    for name in names:
        del timers[name]
    return names


def is_due(entry: Entry, now: int) -> bool:
    """Whether any timer of an entry is due."""
    pending = entry.pending
    instants = [entry.wake, entry.ends_at, entry.watch]
    if pending is not None:
        instants.append(pending.due)
    return any(0 < instant <= now for instant in instants)


def fire_entries(turn: Turn) -> None:
    """Fire what is due in live entries: crossings, then max_life, then waits, then releases."""
    by_id = sorted(turn.customer.entries, key=lambda entry: entry.id)
    for entry in by_id:
        journey = turn.journey_of(entry)
        if journey is None:
            continue
        crossed = 0 < entry.watch <= turn.now
        # A lifecycle that time has changed is a crossing, too.
        if crossed or (turn.changed and journey.watches):
            entry.watch = 0
            recheck(turn, entry, journey)
    end_overdue(turn)
    for entry in by_id:
        pending = entry.pending
        if pending is None or not _live(turn, entry) or entry in turn.due:
            continue
        if 0 < pending.due <= turn.now:
            turn.due.append(entry)


def _live(turn: Turn, entry: Entry) -> bool:
    return any(one is entry for one in turn.customer.entries)


def end_overdue(turn: Turn) -> None:
    """End the entries whose life is over, and send on those whose wait is."""
    now = turn.now
    for entry in turn.customer.entries:
        if 0 < entry.ends_at <= now or 0 < entry.wake <= now:
            break
    else:
        return
    for entry in sorted(turn.customer.entries, key=lambda entry: entry.id):
        if 0 < entry.ends_at <= turn.now:
            end(turn, entry, "max_life", leaving=True)
    for entry in sorted(turn.customer.entries, key=lambda entry: entry.id):
        if not 0 < entry.wake <= turn.now:
            continue
        place = turn.place_of(entry)
        if place is None or entry.moving:
            go_on(turn, entry, entry.step)  # the walk ends an entry whose definition is gone
            continue
        _, step = place
        match step.do:
            case WaitFor() as wait:
                go_on(turn, entry, timed_out(turn, entry, step, wait))
            case Wait(if_past="exit") as wait if wait.until is not None and _lost(
                turn, entry, wait
            ):
                end(turn, entry, "past_date", values={"step": step.id})
            case _:
                go_on(turn, entry, step.then)


def _lost(turn: Turn, entry: Entry, wait: Wait) -> bool:
    """Whether the date that a wait follows has vanished or moved into the past."""
    due = deadline(turn, entry, wait)
    return due is None or due < turn.now


def watch(turn: Turn) -> None:
    """Compute when time alone may next change a condition that somebody watches."""
    customer = turn.customer
    timed = _timed(turn.catalog)
    if timed.lifecycle or timed.whens or customer.past:
        customer.watch = _customer_watch(turn, timed)
    else:
        customer.watch = 0
    for entry in customer.entries:
        journey = turn.journey_of(entry)
        entry.watch = _entry_watch(turn, entry, journey) if journey and journey.timed else 0


def _customer_watch(turn: Turn, timed: _Timed) -> int:
    instants = [when.next_change(turn.at(None)) for when in timed.whens]
    if timed.lifecycle:
        instants.append(lifecycle.next_change(turn.at(None), turn.catalog))
    instants += [
        past_goal_watch(turn, place, past)
        for place, past in turn.customer.past.items()
        if past.goal_until > turn.now
    ]
    return min((one for one in instants if one is not None), default=0)


class _Timed(NamedTuple):
    """What of a catalog time alone may make true."""

    lifecycle: bool
    whens: tuple[Expression, ...]
    """Of entries."""


def _timed(catalog: Catalog) -> _Timed:
    timed: _Timed | None = catalog.derived.get("timed")
    if timed is None:
        rules = [rule.condition for rule in catalog.lifecycle]
        whens = [catalog.journeys[name].entry.when for name in catalog.entries_when]
        timed = catalog.derived["timed"] = _Timed(
            any(rule is not None and rule.watch is not None for rule in rules),
            tuple(when for when in whens if when is not None and when.watch is not None),
        )
    return timed


def _entry_watch(turn: Turn, entry: Entry, journey: Journey) -> int:
    patterns = list(journey.exits)
    if journey.goal is not None:
        patterns.append(journey.goal.pattern)
    step = journey.steps.get(entry.step)
    if entry.waiting and step is not None and isinstance(step.do, WaitFor):
        patterns.extend(step.do.patterns)
    scope = turn.at(entry)
    instants = [pattern.when.next_change(scope) for pattern in patterns if pattern.when is not None]
    return min((one for one in instants if one is not None), default=0)
