"""What travels in an action for its template: values, never texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.records import Value
    from orchestrator.stages.catalog import Message
    from orchestrator.stages.decide.scope import CustomerScope


def content_of(scope: CustomerScope, message: Message, channel: str) -> dict[str, Value]:
    """Return the values that the template refers to; what is missing stays undefined there."""
    content: dict[str, Value] = {}
    for name, expression in message.content[channel].items():
        value = expression(scope)
        if isinstance(value, list):
            content[name] = ", ".join(str(one) for one in value)
        elif value is not None:
            content[name] = value
    return content
