"""What a sink reports: ordinary events, identity ``customer``, property ``action_id``."""

from __future__ import annotations

from typing import Literal

from orchestrator.ids import receipt_id
from orchestrator.records import Action, Event, Value
from orchestrator.sinks.delivery import Outcome

Status = Literal["accepted", "failed", "dropped", "bounced", "unsubscribed"]

SOURCE = "deliver"


def receipt(action: Action, status: Status, at: int, outcome: Outcome) -> Event:
    """Return a receipt of one action; the same action and status give the same event_id.

    Args:
        action: The send.
        status: ``accepted``: the provider is responsible now. ``failed``: it never will be.
            ``dropped``: it was not even tried. ``bounced``, ``unsubscribed``: beside a failure.
        at: Epoch ms.
        outcome: Why, after how many calls, and the provider's last word: its id of the message, or
            its code.
    """
    properties: dict[str, Value] = {"action_id": action.action_id, "channel": action.channel}
    if outcome.reason:
        properties["reason"] = outcome.reason
    if outcome.attempts:
        properties["attempts"] = outcome.attempts
    if outcome.detail:
        properties["provider_id" if status == "accepted" else "error"] = outcome.detail
    if outcome.maybe_twice:
        properties["maybe_twice"] = True
    if status == "bounced":
        properties["hard"] = True
    return Event(
        event_id=receipt_id(action.action_id, status),
        type=f"message.{status}",
        occurred_at=at,
        identities={"customer": action.customer_id},
        source=SOURCE,
        properties=properties,
    )


def receipt_key(action: Action) -> str:
    """Return the record key of a receipt: its strongest and only identity."""
    return f"customer:{action.customer_id}"
