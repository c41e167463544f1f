"""A scope that answers from dicts, and places to compile for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.expressions import Environment, Expression, Names, compile_expression

PROFILE = Names(
    {
        "plan": "string",
        "name": "string",
        "vip": "boolean",
        "orders": "long",
        "spent": "double",
        "heat": "double",
        "recent": "long",
        "tags": "list(string)",
        "scores": "list(long)",
        "trial_ends": "timestamp",
        "lifecycle": "string",
        "address.city": "string",
    }
)
EVENT = Names(
    {
        "plan": "string",
        "amount": "double",
        "count": "long",
        "paid": "boolean",
        "at": "timestamp",
        "a": "string",
        "a.b": "long",
        "product id": "string",
    }
)
OPEN = Names(open=True)
PLACE = Environment(
    profile=PROFILE,
    event=EVENT,
    entry=EVENT,
    latest=EVENT,
    timed=frozenset({"heat", "recent"}),
    steps={"day1": True, "in-app": True, "pause": False},
    event_types={"pricing.viewed", "feature.used"},
    channels={"email", "push"},
    categories={"news"},
)
ANYWHERE = Environment(profile=OPEN, event=OPEN, entry=OPEN, latest=OPEN, any_step=True)
DAY = 86_400_000


@dataclass
class Customer:
    """A scope whose days have 24 hours."""

    profile: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[tuple[str, str]] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    lasts: Mapping[str, int] = field(default_factory=dict)
    granted: bool = True
    now: int = 1_000 * DAY
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    answer: int | None = 4_711

    def trait(self, name):
        return self.profile.get(name)

    def event(self, name):
        return self.properties.get(name)

    entry = event
    latest = event

    def flag(self, step, flag):
        return (step, flag) in self.flags

    def consent(self, channel, category):
        return self.granted and (channel, category) == ("email", "news")

    def count(self, type_, window_ms):
        del window_ms
        return self.counts.get(type_, 0)

    def last(self, type_):
        return self.lasts.get(type_)

    def days_since(self, instant):
        return (self.now - instant) // DAY

    def when_trait_crosses(self, name, comparison, bound):
        self.asked.append(("trait", name, comparison, bound))
        return self.answer

    def when_count_crosses(self, type_, window_ms, comparison, bound):
        self.asked.append(("count", type_, window_ms, comparison, bound))
        return self.answer

    def when_days_since(self, instant, comparison, bound):
        self.asked.append(("days", instant, comparison, bound))
        return self.answer


def compiled(text: str, place: Environment = PLACE, *, watched: bool = False) -> Expression:
    """Return ``text`` compiled."""
    return compile_expression(text, place, watched=watched)


def value(text: str, place: Environment = PLACE, **customer: Any) -> Any:
    """Return what ``text`` is for a customer."""
    return compiled(text, place)(Customer(**customer))
