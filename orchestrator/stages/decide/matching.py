"""What an event, or a condition, means to a live entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.stages.decide.bounds import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.expressions import Expression
    from orchestrator.records import Event, Value
    from orchestrator.stages.catalog import Journey, Pattern
    from orchestrator.stages.decide.state import Entry, Sent
    from orchestrator.stages.decide.turn import Turn


class Occurrence(Struct):
    """An event at hand; ``sent`` is the action that a receipt is about."""

    event: Event
    properties: Mapping[str, Value]
    """As events.yaml types them."""
    sent: Sent | None = None
    silent: bool = False
    """Late or backfilled: it moves nothing by itself."""
    _keys: dict[str, str | None] = {}

    def key_for(self, turn: Turn, journey: Journey) -> str | None:
        """Return the key value of this event for a keyed journey, None = it has none."""
        if journey.version not in self._keys:
            expression = journey.entry.key
            self._keys[journey.version] = (
                None if expression is None else key_of(turn, expression, self.properties)
            )
        return self._keys[journey.version]


def key_of(turn: Turn, expression: Expression, properties: Mapping[str, Value]) -> str | None:
    """Return a key value as text; the numbers 5 and 5.0 are the same key."""
    value = expression(turn.at(None, properties))
    match value:
        case None | list():
            return None
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return short(str(value))


def concerns(turn: Turn, entry: Entry, journey: Journey, occurrence: Occurrence) -> bool:
    """Whether an event is about this entry.

    A receipt is about the entry of its action. With a key, an event is about the entry with its
    key value, and about every entry if it has none.
    """
    sent = occurrence.sent
    if sent is not None and sent.journey == entry.journey:
        return sent.entry_id == entry.id
    if journey.entry.key is None:
        return True
    key = occurrence.key_for(turn, journey)
    return key is None or key == entry.key


def matches(turn: Turn, pattern: Pattern, entry: Entry, occurrence: Occurrence) -> bool:
    """Whether the event at hand is what a pattern listens for."""
    event = occurrence.event
    if event.type not in pattern.on:
        return False
    if pattern.of is not None:
        sent = occurrence.sent
        if sent is None or sent.entry_id != entry.id or sent.step != pattern.of:
            return False
    condition = pattern.condition
    return condition is None or condition.holds(turn.at(entry, occurrence.properties))


def holds(turn: Turn, pattern: Pattern, entry: Entry) -> bool:
    """Whether a watched condition is true now."""
    if pattern.when is None:
        return False
    scope = turn.at(entry)
    return pattern.when.holds(scope) and (
        pattern.condition is None or pattern.condition.holds(scope)
    )
