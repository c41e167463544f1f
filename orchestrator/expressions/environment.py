"""What an expression may name at the place where it stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.expressions.expression import Expression
    from orchestrator.expressions.types import Type


@dataclass(frozen=True, slots=True)
class Names:
    """Declared names with their types; ``open``: any other name is allowed, of type ``other``."""

    types: Mapping[str, Type] = field(default_factory=dict)
    open: bool = False
    other: Type = "any"


ANYTHING = Names(open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A place for expressions.

    ``None`` for profile, event, entry or latest means that they cannot be read here; ``missing``
    then says what to do instead, by root. ``None`` for the collections means: not checked.
    """

    profile: Names | None = None
    event: Names | None = None
    entry: Names | None = None
    latest: Names | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    timed: frozenset[str] = frozenset()
    """Traits that move with time: scores, windowed counts and sums."""
    derived: Mapping[str, Expression] = field(default_factory=dict)
    """Traits that are expressions over others."""
    history: bool = True
    """Whether consent(), count(), last(), days_since() and now() may be asked."""
    steps: Mapping[str, bool] | None = None
    """Step ids; true = it sends. None = no step functions here."""
    any_step: bool = False
    """Step names are not checked."""
    event_types: Collection[str] | None = None
    channels: Collection[str] | None = None
    categories: Collection[str] | None = None
    records: Mapping[str, Names] | None = None
    """Of a source mapping: its roots (``record``, lookups ...); None = no mapping."""
    grouped: bool = False
    """Of a source mapping: one event is made of several lines, so sum() may be asked."""
    lenient: bool = False
    """For an earlier version of a journey beside today's definitions: what is no longer declared
    reads as null instead of being an error, and what cannot be watched is not watched."""
