"""What ``tests/*.yaml`` say: customers, a script, and what must come of it. Pure; nothing runs here.

``orchestrator.testing.scenarios`` runs them on the real stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.expressions import Value
from orchestrator.expressions.durations import Duration
from orchestrator.journeys.diagnostics import Mark
from orchestrator.records import Value as Property

MESSAGE_OUTCOMES = frozenset("sent deferred suppressed lost held_out expired cancelled".split())
"""Outcomes whose subject is a message; an ``expect`` list names all of them."""
MOVEMENTS = frozenset("entered exited nothing".split())
"""Outcomes whose subject is a journey; compared only where they are written."""
NARROWED_BY = tuple("channel step journey key customer at until reason rule winner version".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A customer as he is before the first line."""

    id: str
    identities: Mapping[str, str] = field(default_factory=dict)
    profile: Mapping[str, Value] = field(default_factory=dict)
    consent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holdout: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Happens:
    """An event comes in."""

    mark: Mark
    type: str
    identities: Mapping[str, str]
    properties: Mapping[str, Property] = field(default_factory=dict)
    id: str = ""
    occurred_at: int | None = None
    backfill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """A receipt comes in for the latest action of a send step."""

    mark: Mark
    of: str
    status: str
    journey: str | None = None
    key: str | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lay:
    """A folder is laid over the workspace and applied."""

    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One decision that must have been made; only written ``fields`` are compared."""

    mark: Mark
    outcome: str
    subject: str
    fields: Mapping[str, Value]

    def __str__(self) -> str:
        return f"{self.outcome} {self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a script: time runs to its instant, its input is appended, then one looks."""

    mark: Mark
    at: int | None = None
    after: Duration | None = None
    customer: str = ""
    input: Happens | Reports | Lay | None = None
    expect: tuple[Expected, ...] | None = None
    includes: tuple[Expected, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One test. ``policy`` replaces these top-level keys, as they stand in the file."""

    mark: Mark
    name: str
    journeys: tuple[str, ...] | None = None
    policy: Mapping[str, object] = field(default_factory=dict)
    sink: Literal["accepts", "silent"] = "accepts"
    choose: Mapping[str, str] = field(default_factory=dict)
    customers: tuple[Given, ...] = ()
    script: tuple[Line, ...] = ()
