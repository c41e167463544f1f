"""Rendered messages on a topic, for a channel service of one's own that does not render itself.

The message goes into the transaction that records its outcome: it is there exactly once. Key: the
customer's id; value: JSON, the same as a webhook's body; CloudEvents headers with the action's id.
(A service that wants to render and to deduplicate reads the action topic itself and needs no sender.)
"""

from __future__ import annotations

from typing import Final

from orchestrator.expressions.instants import format_instant
from orchestrator.sinks.ledger import Write
from orchestrator.sinks.senders.protocol import Accepted, Order, Unfit
from orchestrator.sinks.senders.webhook import TYPE, body_of

MAX_BYTES: Final = 900_000
"""Kafka's default for a record is 1 MiB, with its key and headers."""


class KafkaSender:
    """Makes records for ``topic``; ``source`` is the deployment's name."""

    def __init__(self, topic: str, source: str) -> None:
        self._topic = topic
        self._source = source

    async def send(self, order: Order) -> Accepted:
        """Give the record that the transaction will hold; see ``Sender``."""
        action = order.action
        told = {
            "ce_specversion": "1.0",
            "ce_id": action.action_id,
            "ce_type": TYPE,
            "ce_source": self._source,
            "ce_time": format_instant(action.decided_at) or "",
            "content-type": "application/json",
        }
        headers = [(name, value.encode()) for name, value in told.items()]
        body = body_of(order)
        if len(body) > MAX_BYTES:
            # It would fail the whole transaction, again and again.
            raise Unfit("too_large", f"longer than {MAX_BYTES} bytes")
        return Accepted(write=Write(self._topic, action.customer_id.encode(), body, headers))
