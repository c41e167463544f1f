"""What an event, or a condition that became true, does to a live entry.

Goal before exit before interrupt before wait: the first that matches consumes the event for that
entry. All of them act in the middle of any wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.catalog import WaitFor
from orchestrator.stages.decide import waits
from orchestrator.stages.decide.bounds import context
from orchestrator.stages.decide.entries import end, goal_values, leave, within_goal
from orchestrator.stages.decide.matching import concerns, holds, matches
from orchestrator.stages.decide.state import Entry
from orchestrator.stages.decide.steps import go_on, won

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey, Pattern
    from orchestrator.stages.decide.matching import Occurrence
    from orchestrator.stages.decide.state import Past
    from orchestrator.stages.decide.turn import Turn


def react(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence) -> None:
    """Show an event to an entry, and what it changed."""
    if not concerns(turn, entry, journey, occurrence):
        if journey.watches:
            recheck(turn, entry, journey)
        return
    if _ends(turn, entry, journey, occurrence):
        return
    number = _interrupt(turn, entry, journey, occurrence)
    if number is None and _wait_ends(turn, entry, journey, occurrence):
        waits.remember(turn, entry, journey, occurrence)
    elif number is None:
        waits.remember(turn, entry, journey, occurrence)
        if journey.watches:
            recheck(turn, entry, journey)


def recheck(turn: Turn, entry: Entry, journey: Journey) -> None:
    """Look at the conditions of an entry: something that they read has changed, or time has."""
    if _ends(turn, entry, journey, None):
        return
    step = journey.steps.get(entry.step)
    if entry.waiting and step is not None and isinstance(step.do, WaitFor):
        number = waits.observe(turn, entry, step, step.do)
        if number is not None:
            go_on(turn, entry, won(turn, entry, step, step.do, number))


def _ends(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence | None) -> bool:
    """Goal, then exits: by the event at hand or by condition."""
    goal = journey.goal
    if (
        goal is not None
        and _meets(turn, goal.pattern, entry, occurrence)
        and within_goal(turn, goal, entry)
    ):
        values = goal_values(turn, goal.value, entry, occurrence)
        rule = _rule(goal.pattern, occurrence)
        end(turn, entry, "goal", rule=rule, values=values, leaving=True)
        return True
    for pattern in journey.exits:
        if _meets(turn, pattern, entry, occurrence):
            end(turn, entry, "exit", rule=_rule(pattern, occurrence), leaving=True)
            return True
    return False


def _meets(turn: Turn, pattern: Pattern, entry: Entry, occurrence: Occurrence | None) -> bool:
    if pattern.when is not None:
        return holds(turn, pattern, entry)
    return occurrence is not None and matches(turn, pattern, entry, occurrence)


def _rule(pattern: Pattern, occurrence: Occurrence | None) -> str | None:
    if pattern.when is not None:
        return pattern.when.text
    return occurrence.event.type if occurrence is not None else None


def _interrupt(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence) -> int | None:
    for number, pattern in enumerate(journey.interrupts):
        if number in entry.interrupted and not pattern.again:
            continue
        if pattern.then is None or not matches(turn, pattern, entry, occurrence):
            continue
        if not pattern.again:
            entry.interrupted = (*entry.interrupted, number)
        said = {"to": pattern.then, **leave(turn, entry, "interrupted")}
        turn.decide(
            "advanced",
            entry=entry,
            step=entry.step,
            reason="interrupted",
            rule=occurrence.event.type,
            values=said,
        )
        entry.latest = context(turn.customer, occurrence.properties)
        turn.due = [one for one in turn.due if one is not entry]
        go_on(turn, entry, pattern.then)
        return number
    return None


def _wait_ends(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence) -> bool:
    step = journey.steps.get(entry.step)
    if not entry.waiting or step is None or not isinstance(step.do, WaitFor):
        return False
    number = waits.hear(turn, entry, step, step.do, occurrence)
    if number is None:
        return False
    target = won(turn, entry, step, step.do, number)
    entry.latest = context(turn.customer, occurrence.properties)
    go_on(turn, entry, target)
    return True


def react_past(turn: Turn, occurrence: Occurrence | None) -> None:
    """Count a goal that is reached within its window after the entry's end."""
    past = turn.customer.past
    if not past:
        return
    # By name: in which order lives were merged must not show.
    for key in sorted(key for key, one in past.items() if one.goal_until > turn.now):
        _react_one_past(turn, key, past[key], occurrence)


def _react_one_past(turn: Turn, place: str, past: Past, occurrence: Occurrence | None) -> None:
    name, _, key = place.partition("\x1f")
    journey = turn.catalog.journey(name, past.version)
    if journey is None or journey.goal is None:
        return
    if any(one.journey == name and one.key == key for one in turn.customer.entries):
        return  # the live entry counts it
    ghost = _ghost(place, past)
    if occurrence is not None and not concerns(turn, ghost, journey, occurrence):
        return
    goal = journey.goal
    if not _meets(turn, goal.pattern, ghost, occurrence):
        return
    values = goal_values(turn, goal.value, ghost, occurrence)
    values["after_end"] = True
    rule = _rule(goal.pattern, occurrence)
    turn.decide("advanced", entry=ghost, reason="goal", rule=rule, values=values)
    past.goal_until = 0
    past.entry_id = past.version = ""
    past.entry, past.latest = {}, {}


def _ghost(place: str, past: Past) -> Entry:
    """Return an ended entry as far as its goal may ask for it."""
    name, _, key = place.partition("\x1f")
    return Entry(
        id=past.entry_id,
        journey=name,
        version=past.version,
        started=past.ended,
        cause="",
        step="",
        key=key,
        entry=past.entry,
        latest=past.latest or None,
    )


def past_goal_watch(turn: Turn, place: str, past: Past) -> int | None:
    """Return when time alone may next reach the goal of an ended entry; None = never."""
    journey = turn.catalog.journey(place.partition("\x1f")[0], past.version)
    when = None if journey is None or journey.goal is None else journey.goal.pattern.when
    if when is None or when.watch is None:
        return None
    return when.next_change(turn.at(_ghost(place, past)))
