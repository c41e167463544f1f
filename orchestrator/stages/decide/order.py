"""The order within one record (2-semantics 2.2), as code.

1 age and duplicates; 2 consent, traits, lifecycle; 3 live entries, oldest first: goal, exit,
interrupt, wait; 4 new entries by journey name; 5 entries run until they park; 6 due sends are
decided and their entries go on; 7 derived events, same instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.decide import (
    consent,
    entries,
    lifecycle,
    receipts,
    seen,
    silences,
    traits,
    trimming,
)
from orchestrator.stages.decide.concerns import concern_of, reaches_goals
from orchestrator.stages.decide.entries import enter
from orchestrator.stages.decide.event_time import event_time
from orchestrator.stages.decide.matching import Occurrence
from orchestrator.stages.decide.reactions import react, react_past, recheck
from orchestrator.stages.decide.sends import decide_due
from orchestrator.stages.decide.stakes import stakes_in, stakes_of
from orchestrator.stages.decide.state import FLAGS
from orchestrator.stages.decide.steps import walk
from orchestrator.stages.decide.timers import end_overdue
from orchestrator.stages.decide.wakes import rearm, wake_pending
from orchestrator.stages.decide.whens import rising

if TYPE_CHECKING:
    from orchestrator.records import Event
    from orchestrator.stages.catalog import Journey
    from orchestrator.stages.decide.concerns import Concern
    from orchestrator.stages.decide.state import Sent
    from orchestrator.stages.decide.turn import Turn


def handle(turn: Turn, event: Event, concern: Concern, *, backfill: bool) -> bool:
    """Apply one event of the log, steps 1 to 4; return whether anything may follow from it."""
    customer, now = turn.customer, turn.now
    fresh = customer.first_seen == 0
    if fresh:
        customer.first_seen = now
    if seen.check_and_remember(customer.profile, event, now):
        return False
    sent = receipts.find(customer, event) if concern.receipt else None
    if (
        sent is not None
        and receipts.is_repeated(sent, event)
        and not consent.worsens(customer, sent, event)
    ):
        return False
    at = event_time(event, now)
    _learn(turn, event, concern, sent, at)
    if not fresh and _ends_there(turn, event.type, concern, sent):
        trimming.hold(customer, now, turn.catalog)
        return False
    old = at < now - turn.catalog.policy.max_event_age_ms
    occurrence = Occurrence(event, turn.scope.event_properties, sent, silent=backfill or old)
    _act(turn, occurrence, concern, fresh=fresh, record_late=old and not backfill)
    return True


def _ends_there(turn: Turn, type_: str, concern: Concern, sent: Sent | None) -> bool:
    """Whether an event only taught something: nobody acts on it, and no timer moves."""
    customer, catalog, changed = turn.customer, turn.catalog, turn.changed
    consents = turn.consent_changed
    if concern.starts or sent is not None or stakes_of(catalog).touched(changed, consent=consents):
        return False
    for entry in customer.entries:
        journey = turn.journey_of(entry)
        if journey is None or type_ in journey.listens or entry.pending is not None:
            return False
        if _is_touched(turn, journey):
            return False
    return not customer.past or not reaches_goals(type_, customer, turn.now, catalog)


def run(turn: Turn) -> None:
    """Do all that is to be done at this instant: steps 5 to 7."""
    while True:
        _settle(turn)
        if turn.ready:
            walk(turn, turn.ready.pop(0))
        elif turn.due:
            decide_due(turn)
        elif turn.derived:
            _derived(turn, turn.next_derived())
        else:
            return


def _derived(turn: Turn, event: Event) -> None:
    """Steps 2 to 4 for an event that follows from another one."""
    concern = concern_of(turn.catalog, event.type)
    sent = receipts.find(turn.customer, event)
    _learn(turn, event, concern, sent, event.occurred_at)
    beyond = turn.cascading
    occurrence = Occurrence(event, turn.scope.event_properties, sent, silent=beyond)
    _act(turn, occurrence, concern, fresh=False, record_late=beyond)


def _is_touched(turn: Turn, journey: Journey) -> bool:
    """Whether a condition of a journey's entries reads what has changed."""
    return journey.watches and stakes_in(journey, turn.catalog).touched(
        turn.changed, consent=turn.consent_changed, flags=turn.flags_changed
    )


def _learn(turn: Turn, event: Event, concern: Concern, sent: Sent | None, at: int) -> None:
    """Step 2, the event alone: what a receipt, a statement of consent, or a trait is told."""
    customer, now, catalog, scope = turn.customer, turn.now, turn.catalog, turn.scope
    scope.current_entry = None
    scope.set_event(event)
    if sent is not None:
        receipts.note(turn, sent, event)
    if concern.consent:
        turn.consent_changed = True
        for revocation in consent.apply_event(customer, event, now, catalog):
            _revoke(turn, revocation)
    turn.changed |= traits.learn(customer, concern, event.type, at, now, catalog, scope)


def _act(
    turn: Turn, occurrence: Occurrence, concern: Concern, *, fresh: bool, record_late: bool
) -> None:
    """Steps 2 to 4, what follows from an event and from what it taught."""
    silent = occurrence.silent
    started = dict.fromkeys(_risen(turn, fresh=fresh, silent=silent))
    if not silent or record_late:
        started |= dict.fromkeys(concern.entries, occurrence)
    if not silent:
        for name, span in concern.absences:
            silences.arm(turn, name, turn.now, span)
    _react(turn, occurrence)
    for name in sorted(started):
        enter(turn, turn.catalog.journeys[name], started[name])


def _risen(turn: Turn, *, fresh: bool, silent: bool) -> list[str]:
    """Step 2, what follows: lifecycle, then the journeys whose condition has become true."""
    if not (fresh or turn.changed or turn.consent_changed):
        return []
    update_lifecycle(turn, fresh=fresh, silent=silent)
    risen = rising(turn, all_of_them=fresh)
    return [] if silent else risen


def _react(turn: Turn, occurrence: Occurrence) -> None:
    """Step 3: show the event, and what it changed, to each live entry."""
    returned = receipts.window_closed(turn, occurrence)
    live = [entry for entry in turn.customer.entries if entry is not returned]
    changes = bool(turn.changed or turn.consent_changed or turn.flags_changed)
    for entry in live:
        journey = turn.journey_of(entry)
        if journey is None:
            entries.end(turn, entry, "not_live", leaving=True)
        elif not occurrence.silent and occurrence.event.type in journey.listens:
            react(turn, entry, journey, occurrence)
        elif changes and _is_touched(turn, journey):
            recheck(turn, entry, journey)
    react_past(turn, None if occurrence.silent else occurrence)
    _wake(turn)


def _settle(turn: Turn) -> None:
    """Draw the consequences of what the turn itself changed: traits set, slots given back."""
    if turn.changed or turn.flags_changed:
        follow_changes(turn)
    elif turn.slots_freed or turn.vacated:
        _wake(turn)


def follow_changes(turn: Turn) -> None:
    """Lifecycle, entry conditions and the conditions of live entries, after a change from within."""
    update_lifecycle(turn)
    started = rising(turn, all_of_them=False)
    for entry in list(turn.customer.entries):
        journey = turn.journey_of(entry)
        if journey is not None and _is_touched(turn, journey):
            recheck(turn, entry, journey)
    react_past(turn, None)
    for name in started:
        enter(turn, turn.catalog.journeys[name], None)
    _wake(turn)


def _wake(turn: Turn) -> None:
    """Re-arm what the changes moved, wake the deferred sends that read them, and forget them."""
    if turn.changed:
        rearm(turn)
        end_overdue(turn)
    wake_pending(turn)
    turn.changed.clear()
    turn.consent_changed = turn.flags_changed = turn.slots_freed = turn.vacated = False


def update_lifecycle(turn: Turn, *, fresh: bool = False, silent: bool = False) -> None:
    """Evaluate the lifecycle anew; a change is an event, except the first one of an old customer."""
    if not turn.catalog.lifecycle:
        return
    scope = turn.at(None)
    change = lifecycle.update(turn.customer.profile, scope, turn.catalog)
    if change is not None:
        turn.changed.add("lifecycle")
        if not silent and (fresh or change.before):
            turn.lifecycle_changed(change)


def _revoke(turn: Turn, revocation: consent.Revocation) -> None:
    """Cancel every unaccepted action that a revocation touches."""
    profile, catalog = turn.customer.profile, turn.catalog
    for sent in turn.customer.sends:
        if not sent.cancellable or not revocation.covers(sent.channel, sent.category):
            continue
        channel = catalog.policy.channels.get(sent.channel)
        message = catalog.messages.get(sent.message)
        if channel is not None and channel.internal:
            continue
        if message is not None and message.class_ == "mandatory":
            continue
        if consent.allowed(profile, sent.channel, sent.category, catalog)[0]:
            continue
        sent.flags |= FLAGS["cancelled"]
        decision = turn.decide("cancelled", reason="no_consent", rule="revoked", sent=sent)
        turn.cancel(sent, decision, message)
