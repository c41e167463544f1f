"""What a sink reports: ordinary events, identity ``customer``, property ``action_id``."""

from __future__ import annotations

from typing import Literal

from orchestrator.ids import receipt_id
from orchestrator.records import Action, Event, Value

Status = Literal["accepted", "failed", "dropped"]

SOURCE = "deliver"


def receipt(
    action: Action, status: Status, at: int, *, reason: str | None = None, attempts: int = 0
) -> Event:
    """Return the receipt of one action; the same action and status give the same event_id.

    Args:
        action: The send.
        status: ``accepted``: the provider is responsible now. ``failed``: it never will be.
            ``dropped``: it was not even tried.
        at: Epoch ms.
        reason: Closed word: ``window`` ``cancel`` ``template`` ``rejected`` ``unknown`` and others.
        attempts: How often the provider was asked.
    """
    properties: dict[str, Value] = {"action_id": action.action_id, "channel": action.channel}
    if reason:
        properties["reason"] = reason
    if attempts:
        properties["attempts"] = attempts
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
