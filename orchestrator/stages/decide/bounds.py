"""The bounds that keep a customer's state small."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.records import Value

CONTEXT_BYTES = 4_096
"""``entry.x`` and ``latest.x`` hold at most this much of an event."""
_NUMBER_BYTES = 9


def bounded(properties: Mapping[str, Value]) -> dict[str, Value]:
    """Return the properties in their order, without those that would exceed the bound."""
    kept: dict[str, Value] = {}
    left = CONTEXT_BYTES
    for name, value in properties.items():
        size = len(name.encode()) + (
            len(value.encode()) if isinstance(value, str) else _NUMBER_BYTES
        )
        if size <= left:
            left -= size
            kept[name] = value
    return kept
