"""What a change re-arms or wakes: waits that follow a trait, the zone, deferred sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.catalog import Wait, WaitFor
from orchestrator.stages.decide import silences, waits
from orchestrator.stages.decide.pipeline import suppression_covers
from orchestrator.stages.decide.trait_values import count_key, last_key
from orchestrator.stages.decide.variants import variants_of

if TYPE_CHECKING:
    from orchestrator.expressions import Expression
    from orchestrator.stages.catalog import Step
    from orchestrator.stages.decide.state import Entry, Pending
    from orchestrator.stages.decide.turn import Turn

_SLOTS = frozenset({"gap", "cap", "arbitration", "protected", "already_sent"})
_CONTACT = frozenset({"no_consent", "no_address"})


def zone_changed(turn: Turn) -> bool:
    """Whether the trait that holds the customer's zone, or what it is derived from, changed."""
    name = turn.catalog.timezone_trait
    if name is None or not turn.changed:
        return False
    if name in turn.changed:
        return True
    trait = turn.catalog.traits.get(name)
    return trait is not None and _reads(turn, trait.expression)


def _reads(turn: Turn, expression: Expression | None) -> bool:
    """Whether a trait, count or last event that an expression reads has changed."""
    if expression is None:
        return False
    reads = expression.references
    return (
        not reads.traits.isdisjoint(turn.changed)
        or any(last_key(type_) in turn.changed for type_ in reads.lasts)
        or any(count_key(*asked) in turn.changed for asked in reads.counts)
    )


def rearm(turn: Turn, *, zone: bool | None = None) -> None:
    """Compute anew the instants that depend on what changed, or on a zone that did."""
    if zone is None:
        zone = zone_changed(turn)
    if zone:
        silences.rearm(turn)
    for entry in list(turn.customer.entries):
        place = turn.place_of(entry)
        if place is None:
            continue
        journey, step = place
        if zone:
            entry.ends_at = turn.calendar.add(entry.started, journey.max_life)
        if entry.waiting:
            rearm_wait(turn, entry, step, zone=zone)
        elif zone and entry.pending is not None and entry not in turn.due:
            turn.due.append(entry)


def rearm_wait(turn: Turn, entry: Entry, step: Step, *, zone: bool) -> None:
    """Compute the end of one wait anew; one that is over by now ends at once."""
    match step.do:
        case WaitFor() as wait if zone:
            entry.wake = turn.calendar.add(entry.arrived, wait.timeout)
        case Wait() as wait if zone or _reads(turn, wait.until):
            entry.wake = waits.deadline(turn, entry, wait) or turn.now
        case _:
            pass


def wake_pending(turn: Turn) -> None:
    """Make due the deferred sends whose rule reads what changed."""
    for entry in turn.customer.entries:
        pending = entry.pending
        if pending is not None and entry not in turn.due and _touched(turn, entry, pending):
            turn.due.append(entry)


def wake_all_pending(turn: Turn) -> None:
    """Make due every deferred send: a merge may change whatever it was decided by.

    Control, slots, what was sent before: so what is left does not depend on the order of merges.
    """
    turn.due = [entry for entry in turn.customer.entries if entry.pending is not None]


def _touched(turn: Turn, entry: Entry, pending: Pending) -> bool:
    blocks = set(pending.blocks)
    if (
        (turn.slots_freed and blocks & _SLOTS)
        or (turn.vacated and "protected" in blocks)
        or (turn.consent_changed and blocks & _CONTACT)
    ):
        return True
    place = turn.place_of(entry)
    if place is None or not (turn.changed or turn.flags_changed or turn.consent_changed):
        return False
    _, step = place
    return (
        ("no_address" in blocks and _reads_address(turn, step))
        or ("condition" in blocks and _reads_option(turn, step))
        or ("suppression" in blocks and _reads_suppression(turn, step))
    )


def _reads_address(turn: Turn, step: Step) -> bool:
    return any(
        variant.channel is not None and _reads(turn, variant.channel.address)
        for variant in variants_of(turn, step)
    )


def _reads_option(turn: Turn, step: Step) -> bool:
    """Whether the ``if`` of an option may read what changed."""
    conditions = (v.option.condition for v in variants_of(turn, step) if v.option is not None)
    return any(
        _reads(turn, condition) or bool(condition.references.consents | condition.references.flags)
        for condition in conditions
        if condition is not None
    )


def _reads_suppression(turn: Turn, step: Step) -> bool:
    variants = variants_of(turn, step)
    for rule in turn.catalog.policy.suppress:
        reads = rule.condition.references
        changed = (
            not reads.traits.isdisjoint(turn.changed)
            or (bool(reads.consents) and turn.consent_changed)
            or bool(reads.counts or reads.lasts)
        )
        if changed and any(
            variant.message is not None
            and suppression_covers(rule, variant.message, variant.channel_name)
            for variant in variants
        ):
            return True
    return False
