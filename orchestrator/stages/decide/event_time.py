"""When an event happened, as far as we believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.records import Event

MOST_AHEAD_MS = 5 * 60_000
"""A sender's clock may be ahead by this much; more is an error of the sender."""


def is_ahead(event: Event, now: int) -> bool:
    """Return whether ``occurred_at`` is too far in the future (such events are counted)."""
    return event.occurred_at > now + MOST_AHEAD_MS


def event_time(event: Event, now: int) -> int:
    """Return occurred_at; one that lies too far in the future is clamped to the log time ``now``."""
    return now if is_ahead(event, now) else event.occurred_at
