"""The checked tree: names resolved, every node with its type.

Made by ``checker``; read by ``closures`` (to run), ``watch`` (to know when time acts) and
``references`` (what it needs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.expressions.regex import Pattern
from orchestrator.expressions.scope import Comparison, Flag
from orchestrator.expressions.syntax import Constant
from orchestrator.expressions.types import Type

Root = Literal["profile", "event", "entry", "latest"]
Operation = Literal["+", "-", "*", "/", "%"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    type: Type
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Const(_Node):
    """A constant."""

    value: Constant


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(_Node):
    """A list literal."""

    items: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(_Node):
    """A trait or a property; ``timed``: a trait that time alone moves."""

    root: Root
    name: str
    timed: bool = False
    derived: Typed | None = None
    """The tree of a derived trait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field(_Node):
    """A field of a source mapping's record, or a column of one of its lookups."""

    root: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(_Node):
    """``sum(a)``: over the lines of a source mapping's group."""

    of: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlag(_Node):
    """``opened("step")`` and its like."""

    step: str
    flag: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent(_Node):
    """``consent(channel, category)``."""

    channel: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(_Node):
    """``count(type, window)``."""

    event: str
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Last(_Node):
    """``last(type)``."""

    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaysSince(_Node):
    """``days_since(t)``."""

    of: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Now(_Node):
    """``now()``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Not(_Node):
    """``!a``: true unless a is true."""

    of: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Negate(_Node):
    """``-a``."""

    of: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic(_Node):
    """``a OPERATION b``; ``+`` also joins strings."""

    operation: Operation
    left: Typed
    right: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare(_Node):
    """``a COMPARISON b``, neither being the literal null."""

    comparison: Comparison
    left: Typed
    right: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNull(_Node):
    """``a == null``, or with ``negated`` ``a != null`` and ``has(a)``."""

    of: Typed
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class In(_Node):
    """``item in options``."""

    item: Typed
    options: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class And(_Node):
    """All of ``items``."""

    items: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Or(_Node):
    """One of ``items``."""

    items: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Either(_Node):
    """``condition ? then : otherwise``."""

    condition: Typed
    then: Typed
    otherwise: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(_Node):
    """A function of ``functions``."""

    name: str
    arguments: tuple[Typed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches(_Node):
    """``matches(a, pattern)``."""

    of: Typed
    pattern: Pattern


Typed = (
    Const
    | ListOf
    | Read
    | Field
    | Sum
    | StepFlag
    | Consent
    | Count
    | Last
    | DaysSince
    | Now
    | Not
    | Negate
    | Arithmetic
    | Compare
    | IsNull
    | In
    | And
    | Or
    | Either
    | Apply
    | Matches
)


def children(node: Typed) -> tuple[Typed, ...]:
    """Return the operands of ``node``, in the order of the text."""
    match node:
        case ListOf(items=items) | And(items=items) | Or(items=items) | Apply(arguments=items):
            return items
        case DaysSince() | Not() | Negate() | IsNull() | Matches() | Sum():
            return (node.of,)
        case Arithmetic(left=left, right=right) | Compare(left=left, right=right):
            return (left, right)
        case In(item=left, options=right):
            return (left, right)
        case Either(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case _:
            return ()
