"""A new catalog takes effect for one customer.

``pin`` entries keep their own definition; ``follow`` entries move to the live one and keep their
position. Conditions are recorded as they stand and start nothing, except for ``existing`` journeys,
whose customers come in paced over an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import ids
from orchestrator.expressions.durations import Duration
from orchestrator.stages.catalog import Choose, Send, Wait, WaitFor
from orchestrator.stages.decide import lifecycle, silences, waits, whens
from orchestrator.stages.decide.entries import cancel_pending, end
from orchestrator.stages.decide.following import next_surviving, same_patterns, same_step
from orchestrator.stages.decide.reactions import recheck
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.stages.decide.steps import go_on
from orchestrator.stages.decide.timers import end_overdue
from orchestrator.stages.decide.trait_values import last_key
from orchestrator.stages.decide.wakes import rearm

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog, EntryRule, Journey, Step
    from orchestrator.stages.decide.state import Entry
    from orchestrator.stages.decide.turn import Turn

_OVER = frozenset({"draining", "stopped"})
PACE_MS = 3_600_000
"""``existing`` customers enter spread over an hour."""


def switch(turn: Turn, old: Catalog) -> None:
    """Bring a customer from ``old`` to the turn's catalog, as of the turn's instant."""
    change = lifecycle.update(turn.customer.profile, turn.at(None), turn.catalog)
    if change is not None:
        turn.changed.add("lifecycle")
    whens.record(turn)
    _absences(turn, old)
    if CustomerScope(turn.key, turn.customer, old, turn.now).calendar is not turn.calendar:
        rearm(turn, zone=True)
    _existing(turn, old)
    bring_entries(turn)
    for entry in turn.customer.entries:
        _retry(turn, entry)


def bring_entries(turn: Turn) -> None:
    """Bring live entries to the turn's catalog: also those that come from another partition's."""
    for entry in list(turn.customer.entries):
        _entry(turn, entry)
    end_overdue(turn)


def _entry(turn: Turn, entry: Entry) -> None:
    status = turn.status(entry.journey)
    live = turn.catalog.journeys.get(entry.journey)
    journey = turn.journey_of(entry)
    if status == "stopped":
        end(turn, entry, "not_live", rule=status, leaving=True)
        return
    if live is not None and live.version != entry.version and live.in_flight == "follow":
        _follow(turn, entry, journey, live)
        return
    if journey is None:
        end(turn, entry, "not_live", rule="unknown version", leaving=True)
        return
    if journey.watches:
        recheck(turn, entry, journey)


# -- follow -------------------------------------------------------------------------------------


def _follow(turn: Turn, entry: Entry, former: Journey | None, live: Journey) -> None:
    """Move an entry to the live definition; it keeps its position."""
    place = next_surviving(entry.step, former, live)
    step = same_step(live, entry.step)
    if entry.pending is not None and (step is None or not isinstance(step.do, Send | Choose)):
        cancel_pending(turn, entry, "not_live")
    entry.version = live.version
    _renumber(entry, former, live)
    _rename(turn, entry, live)
    entry.ends_at = turn.calendar.add(entry.started, live.max_life)
    if step is not None:
        entry.step = step.id
        _stay(turn, entry, step)
        if live.watches:
            recheck(turn, entry, live)
        return
    if place is None:
        end(turn, entry, "completed", rule="follow", leaving=True)
        return
    turn.decide("advanced", entry=entry, step=entry.step, rule="follow", values={"to": place})
    _leave_at(turn, entry, place)


def _renumber(entry: Entry, former: Journey | None, live: Journey) -> None:
    """Carry over what is kept by the number of an interrupt or of a wait's pattern."""
    numbers = same_patterns(former.interrupts if former else None, live.interrupts, live)
    entry.interrupted = tuple(sorted(numbers[one] for one in entry.interrupted if one in numbers))
    hits = []
    for hit in entry.hits:
        step = same_step(live, hit.step)
        if step is None or not isinstance(step.do, WaitFor):
            continue
        before = former.steps.get(hit.step) if former is not None else None
        wait = before.do if before is not None else None
        patterns = wait.patterns if isinstance(wait, WaitFor) else None
        numbers = same_patterns(patterns, step.do.patterns, live)
        if hit.pattern in numbers:
            hit.pattern = numbers[hit.pattern]
            hits.append(hit)
    entry.hits = tuple(hits)


def _rename(turn: Turn, entry: Entry, live: Journey) -> None:
    """Carry what is kept by step id over to the new names."""
    own = bytes.fromhex(entry.id)
    for step in live.steps.values():
        if step.was is None or step.was in live.steps:
            continue
        for kept in (entry.passes, entry.attempts):
            if step.was in kept:
                kept[step.id] = kept.pop(step.was)
        for hit in entry.hits:
            if hit.step == step.was:
                hit.step = step.id
        for sent in turn.customer.sends:
            if sent.entry == own and sent.step == step.was:
                sent.step = step.id
        if entry.after == step.was:
            entry.after = step.id


def _stay(turn: Turn, entry: Entry, step: Step) -> None:
    """Keep an entry where it is: a shortened wait wakes at the new due instant, spread.

    A lengthened one re-parks when it wakes, which is the same as waiting on here.
    """
    if entry.pending is not None or entry.moving:
        return
    match step.do:
        case WaitFor() as wait:
            due = turn.calendar.add(entry.arrived, wait.timeout)
        case Wait() as wait:
            due = waits.deadline(turn, entry, wait) or turn.now
        case _:
            _leave_at(turn, entry, step.id)
            return
    entry.wake = due if due > turn.now else turn.now + _offset(turn, entry)


def _leave_at(turn: Turn, entry: Entry, step_id: str) -> None:
    """Send an entry to another step, spread."""
    offset = _offset(turn, entry)
    if offset == 0:
        go_on(turn, entry, step_id)
        return
    entry.step = step_id
    entry.moving = True
    entry.wake = turn.now + offset


def _offset(turn: Turn, entry: Entry) -> int:
    spread = turn.catalog.policy.spread_ms
    return spread * ids.bucket("follow", entry.id) // ids.BUCKETS


# -- what the whole customer sees ----------------------------------------------------------------


def _retry(turn: Turn, entry: Entry) -> None:
    """Look at a deferred send again, spread: its rules may have changed."""
    if entry.pending is None or entry in turn.due:
        return
    entry.pending.retry = turn.now + _offset(turn, entry)
    if entry.pending.retry == turn.now:
        turn.due.append(entry)


def _absences(turn: Turn, old: Catalog) -> None:
    """Arm the silences of journeys that are new, from the last event if it is known."""
    absences = turn.customer.absences
    for name in list(absences):
        journey = turn.catalog.journeys.get(name)
        if journey is None or journey.entry.absence_of is None:
            silences.disarm(turn.customer, name)
    for name in _absent(turn):
        rule = turn.catalog.journeys[name].entry
        before = old.journeys.get(name)
        if (
            before is None
            or before.entry.absence_of != rule.absence_of
            or _revives(turn, old, name)
        ):
            _arm(turn, name, rule)
        elif name in turn.customer.silences and before.entry.absence_for != rule.absence_for:
            _rearm(turn, name, rule)


def _arm(turn: Turn, name: str, rule: EntryRule) -> None:
    since = _silent_since(turn, rule)
    if since is None:
        silences.disarm(turn.customer, name)
        return
    span = rule.absence_for or Duration()
    if turn.calendar.add(since, span) > turn.now:
        silences.arm(turn, name, since, span)
    elif rule.existing:
        turn.customer.scheduled[name] = turn.now + 1 + _pace(turn, name)


def _rearm(turn: Turn, name: str, rule: EntryRule) -> None:
    """A silence under way gets its new length; one that is over by now ends paced."""
    earliest = turn.now + 1 + _pace(turn, name)
    since = turn.customer.silences[name]
    silences.arm(turn, name, since, rule.absence_for or Duration(), earliest)


def _silent_since(turn: Turn, rule: EntryRule) -> int | None:
    """Return when the last event was whose silence counts; None = none is known."""
    last = turn.customer.profile.traits.get(last_key(rule.absence_of or ""))
    return None if last is None else last.at


def _absent(turn: Turn) -> list[str]:
    names = {name for some in turn.catalog.absences_by_event.values() for name in some}
    return sorted(names)


def _existing(turn: Turn, old: Catalog) -> None:
    """Schedule the entry of those for whom the condition of a new journey already holds."""
    scheduled = turn.customer.scheduled
    for name in list(scheduled):
        if name not in turn.catalog.journeys:
            del scheduled[name]
    for name in turn.catalog.entries_when:
        rule = turn.catalog.journeys[name].entry
        begins = name not in old.journeys or _revives(turn, old, name)
        if rule.existing and begins and name in turn.customer.truths:
            scheduled[name] = turn.now + 1 + _pace(turn, name)


def _revives(turn: Turn, old: Catalog, journey: str) -> bool:
    """Whether a journey that was stopped goes live again; a pause only holds, and ends nothing."""
    return old.status.get(journey) in _OVER and turn.status(journey) == "live"


def _pace(turn: Turn, journey: str) -> int:
    return PACE_MS * ids.bucket("existing", journey, turn.key) // ids.BUCKETS
