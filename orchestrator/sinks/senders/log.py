"""A sender for trials and internal channels: says that a message left, and nothing of its content."""

from __future__ import annotations

import structlog

from orchestrator.sinks.senders.protocol import Accepted, Order

_log = structlog.get_logger()


class LogSender:
    """Takes every message."""

    async def send(self, order: Order) -> Accepted:
        """Log the message's name and ids."""
        action = order.action
        _log.info(
            "message left",
            channel=action.channel,
            message=action.message,
            action_id=action.action_id,
            customer_id=action.customer_id,
        )
        return Accepted()
