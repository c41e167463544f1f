"""Two courses of one log side by side: who got what, what held messages back, who was pressed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from orchestrator.records import Decision

Side = Literal["actual", "candidate"]
SIDES: tuple[Side, Side] = ("actual", "candidate")
HELD_BACK = frozenset("suppressed held_out expired cancelled".split())
"""Outcomes of a message that was not sent and will not be by that decision."""
WAITED = frozenset({"deferred", "lost"})
_SCARCE = frozenset({"cap", "gap", "arbitration", "protected", "quiet_hours"})


class Count(Struct, kw_only=True):
    """One thing, how often on either side."""

    what: str
    actual: int
    candidate: int


class Customer(Struct, kw_only=True):
    """A customer who would have got something else; messages as ``NAME on CHANNEL``."""

    customer: str
    more: list[str]
    less: list[str]


class Pressure(Struct, kw_only=True):
    """How many messages a customer got."""

    messages: int
    customers: int
    """Who got any."""
    mean: float
    """Of these."""
    p95: int
    most: int


class Comparison(Struct, kw_only=True):
    """What would have been otherwise."""

    sent: list[Count]
    """By message and channel."""
    entries: list[Count]
    """By journey."""
    exits: list[Count]
    """By journey and reason."""
    reasons: list[Count]
    """Decisions not to send, or not yet: message, outcome and reason."""
    rules: list[Count]
    """What caps, gaps, quiet hours and arbitration held back or put off, by rule."""
    pressure: dict[Side, Pressure]
    customers: list[Customer]
    """Who would have got something else, by customer."""


class Comparer:
    """Takes the decisions of both sides, in any order."""

    def __init__(self) -> None:
        self._decisions: dict[Side, dict[str, Counter[str]]] = {
            side: {word: Counter() for word in ("sent", "entries", "exits", "reasons", "rules")}
            for side in SIDES
        }
        self._got: dict[Side, dict[str, Counter[str]]] = {side: {} for side in SIDES}

    def add(self, side: Side, decision: Decision) -> None:
        """Take one decision."""
        counts = self._decisions[side]
        match decision.outcome:
            case "sent":
                what = f"{decision.message} on {decision.channel}"
                counts["sent"][what] += 1
                got = self._got[side].setdefault(decision.customer_id, Counter())
                got[what] += 1
            case "entered":
                counts["entries"][str(decision.journey)] += 1
            case "exited":
                counts["exits"][f"{decision.journey}: {decision.reason}"] += 1
            case outcome if outcome in HELD_BACK or outcome in WAITED:
                counts["reasons"][f"{decision.message}: {outcome}, {decision.reason}"] += 1
                if decision.reason in _SCARCE:
                    rule = f" {decision.rule}" if decision.rule else ""
                    counts["rules"][f"{decision.reason}{rule}"] += 1
            case _:
                pass

    def result(self, but: Iterable[str] = ()) -> Comparison:
        """Return the comparison; ``but`` are customers whose differences say nothing."""
        left_out = frozenset(but)
        return Comparison(
            sent=self._counts("sent"),
            entries=self._counts("entries"),
            exits=self._counts("exits"),
            reasons=self._counts("reasons"),
            rules=self._counts("rules"),
            pressure={side: _pressure(self._got[side].values()) for side in SIDES},
            customers=[one for one in self._customers() if one.customer not in left_out],
        )

    def _counts(self, word: str) -> list[Count]:
        actual, candidate = (self._decisions[side][word] for side in SIDES)
        return [
            Count(what=what, actual=actual[what], candidate=candidate[what])
            for what in sorted({*actual, *candidate})
        ]

    def _customers(self) -> list[Customer]:
        actual, candidate = self._got["actual"], self._got["candidate"]
        found = []
        for name in sorted({*actual, *candidate}):
            before, after = actual.get(name, Counter()), candidate.get(name, Counter())
            if before != after:
                more, less = (
                    sorted((after - before).elements()),
                    sorted((before - after).elements()),
                )
                found.append(Customer(customer=name, more=more, less=less))
        return found


def _pressure(got: Iterable[Counter[str]]) -> Pressure:
    numbers = sorted(each.total() for each in got)
    if not numbers:
        return Pressure(messages=0, customers=0, mean=0.0, p95=0, most=0)
    return Pressure(
        messages=sum(numbers),
        customers=len(numbers),
        mean=round(sum(numbers) / len(numbers), 2),
        p95=numbers[(len(numbers) * 95 + 99) // 100 - 1],
        most=numbers[-1],
    )
