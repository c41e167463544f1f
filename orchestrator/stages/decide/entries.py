"""Entries: who gets in, how they end, and what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator import ids
from orchestrator.expressions.durations import Duration
from orchestrator.stages.decide.bounds import context, short
from orchestrator.stages.decide.matching import Occurrence, holds, key_of
from orchestrator.stages.decide.skipped import behind
from orchestrator.stages.decide.state import FLAGS, Entry, Past
from orchestrator.stages.decide.variants import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.expressions import Expression
    from orchestrator.records import Value
    from orchestrator.stages.catalog import EntryRule, Goal, Journey
    from orchestrator.stages.decide.turn import Turn

MAX_LIVE = 100
"""Entries that a customer may have at once; one more is refused (a key may have any values)."""
MAX_PAST = 256
"""Ended entries (journey and key) that a customer remembers, oldest forgotten first."""


# -- getting in ---------------------------------------------------------------------------------


def enter(turn: Turn, journey: Journey, occurrence: Occurrence | None) -> None:
    """Start an entry, or write why not. ``occurrence`` None: by a condition, absence or schedule."""
    properties = occurrence.properties if occurrence else {}
    refusal = _closed(turn, journey, occurrence)
    key: str | None = ""
    if refusal is None and journey.entry.key is not None:
        key = key_of(turn, journey.entry.key, properties)
        refusal = Refusal("no_key", journey.entry.key.text) if key is None else None
    if refusal is None:
        refusal = _taken(turn, journey, key or "")
    if refusal is not None:
        turn.decide("nothing", journey=journey, **refusal._asdict())
        return
    cause = occurrence.event.event_id if occurrence else turn.cause
    entry = Entry(
        id=ids.entry_id(turn.key, journey.name, key or "", cause),
        journey=journey.name,
        version=journey.version,
        started=turn.now,
        cause=short(cause),
        step=journey.first,
        key=key or "",
        entry=context(turn.customer, properties),
        ends_at=turn.calendar.add(turn.now, journey.max_life),
        trace=turn.trace or "",
    )
    refusal = _over(turn, journey, entry)
    if refusal is not None:
        turn.decide("nothing", journey=journey, **refusal._asdict())
        return
    turn.customer.entries = (*turn.customer.entries, entry)
    turn.decide("entered", entry=entry, step=entry.step, values={"key": key} if key else None)
    turn.ready.append(entry)


class Refusal(NamedTuple):
    """Why an entry event that matched started nothing."""

    reason: str
    rule: str | None = None
    until: int | None = None


def _closed(turn: Turn, journey: Journey, occurrence: Occurrence | None) -> Refusal | None:
    """Status, cascades, age and ``if``."""
    status = turn.status(journey.name)
    if status != "live":
        return Refusal("paused" if status == "paused" else "not_live", status)
    if turn.cascading:
        return Refusal("cascade")
    if occurrence is not None and occurrence.silent:
        return Refusal("late")
    condition = journey.entry.condition
    scope = turn.at(None, occurrence.properties if occurrence else None)
    if condition is not None and not condition.holds(scope):
        return Refusal("not_eligible", condition.text)
    return None


def _taken(turn: Turn, journey: Journey, key: str) -> Refusal | None:
    """One live entry for each key, and re-entry as the author allows it."""
    if any(live.journey == journey.name and live.key == key for live in turn.customer.entries):
        return Refusal("already_live")
    if len(turn.customer.entries) >= MAX_LIVE:
        return Refusal("already_live", f"at most {MAX_LIVE} live entries")
    past = turn.customer.past.get(past_key(journey.name, key))
    again = _may_enter_again(turn, journey.entry, past)
    return None if again is None else Refusal("re_entry", until=again)


def _over(turn: Turn, journey: Journey, entry: Entry) -> Refusal | None:
    """What would end the entry holds already: an exit, or the goal itself."""
    for pattern in journey.exits:
        if pattern.when is not None and holds(turn, pattern, entry):
            return Refusal("exit_true", pattern.when.text)
    if journey.goal is not None and holds(turn, journey.goal.pattern, entry):
        return Refusal("exit_true", "goal")
    return None


def _may_enter_again(turn: Turn, rule: EntryRule, past: Past | None) -> int | None:
    """Return None if re-entry is allowed, else the instant from which it is (0 = never)."""
    if past is None or rule.re_entry == "always":
        return None
    if isinstance(rule.re_entry, Duration):
        until = turn.calendar.add(past.ended, rule.re_entry)
        return until if turn.now < until else None
    return 0


def past_key(journey: str, key: str) -> str:
    """Return the key under which ended entries are remembered."""
    return f"{journey}\x1f{key}" if key else journey


# -- getting out --------------------------------------------------------------------------------


def end(
    turn: Turn,
    entry: Entry,
    reason: str,
    *,
    rule: str | None = None,
    values: Mapping[str, Value] | None = None,
    leaving: bool = False,
) -> None:
    """End an entry. ``leaving``: from outside (exit, goal, ...), so what is under way is cancelled."""
    said = dict(values or {})
    journey = turn.journey_of(entry)
    if leaving:
        said |= leave(turn, entry, reason)
    elif entry.pending is not None:
        cancel_pending(turn, entry, reason)
    turn.decide("exited", entry=entry, step=entry.step, reason=reason, rule=rule, values=said)
    _drop(turn, entry)
    goal = journey.goal if journey is not None and reason != "goal" else None
    goal_until = turn.calendar.add(entry.started, goal.within) if goal and goal.within else 0
    counted = goal_until > turn.now
    kept = counted and goal is not None and _reads_entry(goal)
    turn.customer.past[past_key(entry.journey, entry.key)] = Past(
        ended=turn.now,
        entry_id=entry.id if counted else "",
        goal_until=goal_until if counted else 0,
        version=entry.version if counted else "",
        entry=entry.entry if kept else {},
        latest=(entry.latest or {}) if kept else {},
    )
    if len(turn.customer.past) > MAX_PAST:
        forget(turn)


def leave(turn: Turn, entry: Entry, reason: str) -> dict[str, Value]:
    """Cancel what is under way; return ``skipped`` for the decision that says why he left."""
    journey = turn.journey_of(entry)
    skipped = behind(journey, entry) if journey is not None else []
    if entry.pending is not None:
        cancel_pending(turn, entry, reason)
    own = bytes.fromhex(entry.id)
    for sent in turn.customer.sends:
        if sent.entry == own and sent.cancellable:
            message = turn.catalog.messages.get(sent.message)
            if message is None or message.cancel_on_exit:
                sent.flags |= FLAGS["cancelled"]
                decision = turn.decide("cancelled", entry=entry, reason=reason, sent=sent)
                turn.cancel(sent, decision, message)
    entry.wake = 0
    return {"skipped": ",".join(skipped)} if skipped else {}


def cancel_pending(turn: Turn, entry: Entry, reason: str) -> None:
    """Conclude the deferred send of an entry that goes elsewhere."""
    message, channel = named(turn, entry)
    turn.decide(
        "cancelled",
        entry=entry,
        step=entry.step,
        reason=reason,
        message=message,
        channel=channel,
    )
    entry.pending = None
    turn.vacated = True


def _drop(turn: Turn, entry: Entry) -> None:
    entry.wake = 0
    turn.customer.entries = tuple(live for live in turn.customer.entries if live is not entry)
    turn.ready = [live for live in turn.ready if live is not entry]
    turn.due = [live for live in turn.due if live is not entry]
    turn.vacated = True


def forget(turn: Turn) -> None:
    """Drop, of ended entries, what decides nothing any more, then the oldest."""
    past = turn.customer.past
    for key in [key for key, one in past.items() if not _matters(turn, key, one)]:
        del past[key]
    surplus = len(past) - MAX_PAST
    for key in sorted(past, key=lambda key: (past[key].ended, key))[: max(surplus, 0)]:
        del past[key]


def _matters(turn: Turn, key: str, past: Past) -> bool:
    journey = turn.catalog.journeys.get(key.partition("\x1f")[0])
    if past.goal_until > turn.now:
        return True
    return journey is None or _may_enter_again(turn, journey.entry, past) is not None


# -- goals --------------------------------------------------------------------------------------


def within_goal(turn: Turn, goal: Goal, entry: Entry) -> bool:
    """Whether the goal still counts."""
    return goal.within is None or turn.now < turn.calendar.add(entry.started, goal.within)


def _reads_entry(goal: Goal) -> bool:
    readers = (goal.value, goal.pattern.condition, goal.pattern.when)
    return any(one.references.entry or one.references.latest for one in readers if one)


def goal_values(
    turn: Turn, value: Expression | None, entry: Entry, occurrence: Occurrence | None
) -> dict[str, Value]:
    """Return what the goal is worth."""
    if value is None:
        return {}
    worth = value(turn.at(entry, occurrence.properties if occurrence else {}))
    return {} if isinstance(worth, list) else {"value": worth}
