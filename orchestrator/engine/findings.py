"""What an audit found: counts, and samples that say what differs from what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from orchestrator.records import Action, Decision

SAMPLES = 20
"""Differences of one kind that are kept with their details; all are counted."""


class Difference(Struct, kw_only=True):
    """One thing that is not as the log says. ``kind`` is closed: see ``KINDS``."""

    kind: str
    partition: int
    key: str
    """Customer id, or identity."""
    what: str
    detail: str = ""


KINDS: Mapping[str, str] = {
    "missing": "the log gives it, the topic does not hold it",
    "twice": "the topic holds it more often than the log gives it",
    "unexpected": "the topic holds it, the log does not give it",
    "content": "same id, other content",
    "state": "the state differs from what the log gives",
    "state_missing": "the log gives a state, the changelog has none",
    "state_unexpected": "the changelog has a state, the log gives none",
    "time": "the checkpoint's log time differs from the log's",
    "changelog": "the changelog contradicts itself",
}


class Findings(Struct, kw_only=True):
    """What an audit looked at, and what was not right."""

    stage: str
    partitions: int = 0
    records: int = 0
    states: int = 0
    matched: dict[str, int] = field(default_factory=dict)
    """Outputs that agree, by topic."""
    aged: dict[str, int] = field(default_factory=dict)
    """Outputs that are older than what the topic still holds."""
    counts: dict[str, int] = field(default_factory=dict)
    """Differences by kind."""
    samples: list[Difference] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no difference."""
        return not self.counts

    def add(self, difference: Difference) -> None:
        """Count a difference; keep the first ones of its kind."""
        seen = self.counts[difference.kind] = self.counts.get(difference.kind, 0) + 1
        if seen <= SAMPLES:
            self.samples.append(difference)


def described(record: Decision | Action) -> str:
    """Return what a decision or action is about, in a few words."""
    if isinstance(record, Action):
        return f"{record.message} on {record.channel}, {record.journey}/{record.step}"
    what = record.message or record.journey or ""
    reason = f" ({record.reason})" if record.reason else ""
    step = f", step {record.step}" if record.step else ""
    return f"{record.outcome} {what}{reason}{step}"


def changes(expected: object, found: object) -> str:
    """Return the fields in which two structs differ: ``field: expected -> found``."""
    if type(expected) is not type(found) or not isinstance(expected, Struct):
        return f"{expected!r:.200} -> {found!r:.200}"
    return "; ".join(_changed(expected, found, ""))


def _changed(expected: Any, found: Any, path: str) -> Iterator[str]:
    for one in msgspec.structs.fields(expected):
        left, right = getattr(expected, one.name), getattr(found, one.name)
        if left == right:
            continue
        if isinstance(left, Struct) and type(left) is type(right):
            yield from _changed(left, right, f"{path}{one.name}.")
        else:
            yield f"{path}{one.name}: {left!r:.120} -> {right!r:.120}"
