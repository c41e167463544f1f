"""Compare what a test line expects with the decisions that the stages made."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.journeys.scenarios import MESSAGE_OUTCOMES, MOVEMENTS, Expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.records import Decision, Value


class Seen(NamedTuple):
    """One decision, with the key value of its entry ("" = none)."""

    decision: Decision
    key: str

    @property
    def at(self) -> int:
        """The instant that caused it, epoch ms."""
        return self.decision.decided_at

    @property
    def of_message(self) -> bool:
        """Whether a message is the subject; else an entry's movement."""
        return self.decision.outcome in MESSAGE_OUTCOMES

    def value(self, field: str) -> Value:
        """Return what a test compares under the name ``field``."""
        decision = self.decision
        match field:
            case "customer":
                return decision.customer_id
            case "at":
                return decision.decided_at
            case "version":
                return decision.journey_version
            case "key":
                return self.key
            case "winner":
                return decision.rule_values.get("winner")
            case _:
                value: Value = getattr(decision, field)
                return value


class Mismatch(NamedTuple):
    """Why a line fails: the item that found no decision, or the decision that no item asks for."""

    item: int | None
    """Place in the list of the line; None = something came that was not expected."""
    instead: Seen | None = None


def fits(expected: Expected, seen: Seen) -> bool:
    """Whether a decision is what an item describes: only written keys are compared."""
    decision = seen.decision
    subject = decision.message if seen.of_message else decision.journey
    if (decision.outcome, subject) != (expected.outcome, expected.subject):
        return False
    return all(_same(field, value, seen.value(field)) for field, value in expected.fields.items())


def compare(expected: Sequence[Expected], seen: Sequence[Seen]) -> Mismatch | None:
    """Check an ``expect`` list: all message decisions, ordered by instant, any order within one.

    Movements are compared only where written: each written one must have happened.
    """
    waiting = [item for item in enumerate(expected) if item[1].outcome in MESSAGE_OUTCOMES]
    came = sorted((one for one in seen if one.of_message), key=_at)
    for _, group in groupby(came, key=_at):
        together = list(group)
        wanted, waiting = waiting[: len(together)], waiting[len(together) :]
        partners = _pair([item for _, item in wanted], together)
        alone = [one for place, one in enumerate(together) if place not in partners]
        for (index, _), partner in zip(wanted, partners, strict=True):
            if partner is None:
                return Mismatch(index, alone[0])
        if alone:
            return Mismatch(None, alone[0])
    if waiting:
        return Mismatch(waiting[0][0])
    return _among([item for item in enumerate(expected) if item[1].outcome in MOVEMENTS], seen)


def includes(expected: Sequence[Expected], seen: Sequence[Seen]) -> Mismatch | None:
    """Check an ``includes`` list: each of these, among others."""
    return _among(list(enumerate(expected)), seen)


def _among(items: Sequence[tuple[int, Expected]], seen: Sequence[Seen]) -> Mismatch | None:
    partners = _pair([item for _, item in items], seen)
    for (index, _), partner in zip(items, partners, strict=True):
        if partner is None:
            return Mismatch(index)
    return None


def _pair(items: Sequence[Expected], seen: Sequence[Seen]) -> list[int | None]:
    """Give each item a decision of its own, as many as can be had (augmenting paths)."""
    owner: dict[int, int] = {}

    def settle(item: int, tried: set[int]) -> bool:
        for place, one in enumerate(seen):
            if place not in tried and fits(items[item], one):
                tried.add(place)
                if place not in owner or settle(owner[place], tried):
                    owner[place] = item
                    return True
        return False

    for item in range(len(items)):
        settle(item, set())
    places = {item: place for place, item in owner.items()}
    return [places.get(item) for item in range(len(items))]


def _at(seen: Seen) -> int:
    return seen.at


def _same(field: str, expected: object, value: object) -> bool:
    if field == "version":  # a hash: its beginning is enough
        return isinstance(value, str) and value.startswith(str(expected))
    return expected == value
