"""Receipts: what became of an action, and what a send that never left gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.records import RECEIPT_TYPES
from orchestrator.stages.decide.state import FLAGS, Pending

if TYPE_CHECKING:
    from orchestrator.records import Event
    from orchestrator.stages.decide.matching import Occurrence
    from orchestrator.stages.decide.state import Customer, Entry, Sent
    from orchestrator.stages.decide.turn import Turn

_REPEATABLE = frozenset({"opened", "clicked"})
"""What a customer does may happen again; what a sink or provider reports happens once."""


def find(customer: Customer, event: Event) -> Sent | None:
    """Return the action that a receipt is about; None if it is no receipt or long forgotten."""
    if event.type not in RECEIPT_TYPES:
        return None
    action_id = event.properties.get("action_id")
    if not isinstance(action_id, str):
        return None
    try:
        action = bytes.fromhex(action_id)
    except ValueError:
        return None
    return next((sent for sent in reversed(customer.sends) if sent.action == action), None)


def is_repeated(sent: Sent, event: Event) -> bool:
    """Whether the same was reported before: receipts are idempotent by (action_id, status)."""
    status = event.type.removeprefix("message.")
    return status not in _REPEATABLE and bool(sent.flags & FLAGS[status])


def in_doubt(event: Event) -> bool:
    """Whether a failure says that nobody knows: a sink died, or a call broke off, and it gave up."""
    return event.type == "message.failed" and event.properties.get("reason") == "unknown"


def note(turn: Turn, sent: Sent, event: Event) -> None:
    """Keep what a receipt says; ``dropped`` and ``failed`` give the slot back.

    What is in doubt may have arrived: it keeps its slot, or the customer might get one too many.
    """
    if in_doubt(event):
        return
    flag = FLAGS[event.type.removeprefix("message.")]
    if sent.flags & flag:
        return
    held = not sent.returned
    sent.flags |= flag
    turn.flags_changed = True
    if held and sent.returned:
        turn.slots_freed = True


def window_closed(turn: Turn, occurrence: Occurrence) -> Entry | None:
    """Take an action back that its sink dropped because its window had closed.

    Return the entry, due again, if it still stands at the step after the send; else the send has
    expired, and that is a decision.
    """
    sent, event = occurrence.sent, occurrence.event
    if sent is None or event.type != "message.dropped":
        return None
    if event.properties.get("reason") != "window":
        return None
    for entry in turn.customer.entries:
        if entry.id != sent.entry_id or entry.after != sent.step or not entry.parked:
            continue
        if entry.passes.get(sent.step) != sent.pass_:
            continue
        entry.step = sent.step
        entry.wake = entry.watch = 0
        entry.after = ""
        entry.pending = Pending(fell_due=sent.fell_due or sent.at, until=0, expires_at=0)
        turn.due.append(entry)
        turn.decide("advanced", entry=entry, step=sent.step, reason="window")
        return entry
    turn.decide("expired", reason="window", sent=sent)
    return None
