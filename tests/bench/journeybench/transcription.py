"""The opponents' log and job in the product's own words: their events, and a workspace beside this file.

What the job does by its rules the workspace does by ours: duplicates, a count of each type, consent,
the five steps, quiet hours, two caps. Its deadline is a timer instead of the next event, and what it
holds back waits instead of being reported once. Its score is left out: nothing here learns yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.records import Event, Value

WORKSPACE = Path(__file__).parent / "workspace"
DAYS = 14
"""Of their log."""


def events(path: Path) -> Iterator[tuple[bytes, Event, int]]:
    """Yield (key, event, log time) of a file of theirs; time on the log never runs back."""
    import gen
    import job

    at = 0
    for key, value in gen.read(path):
        told = job.decode_event(value)
        at = max(at, told["ts"])
        yield key, _event(told), at


def begin() -> int:
    """Return the time (epoch ms) of their first event."""
    import gen

    return int(gen.START)


def _event(told: dict[str, Any]) -> Event:
    type_, properties = told["type"].replace("_", "."), told["props"]
    if type_ == "unsubscribed":
        type_ = "consent.revoked"
        properties = properties | {"channel": properties["channel"].replace("_", "")}
    return Event(
        event_id=told["event_id"],
        type=type_,
        occurred_at=told["ts"],
        identities={"account_id": told["customer_id"]},
        source="bench",
        properties=dict[str, Value](properties),
    )
