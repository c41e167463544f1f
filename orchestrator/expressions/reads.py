"""Reading a name while it runs: a value that is not of its declared type is null.

So everything behind a read can rely on types, and no event, however malformed, makes it raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from orchestrator.expressions.functions import MAX_LONG, MIN_LONG, finite, whole
from orchestrator.expressions.instants import parse_instant
from orchestrator.expressions.types import Type, element_of

if TYPE_CHECKING:
    from orchestrator.expressions.records import RecordScope
    from orchestrator.expressions.scope import Scope, Value
    from orchestrator.expressions.typed import Root

Closure = Callable[["Scope"], "Value"]

READERS: dict[Root, str] = {
    "profile": "trait",
    "event": "event",
    "entry": "entry",
    "latest": "latest",
}
"""Root -> method of the scope."""


def boolean(value: Value) -> Value:
    """Return a boolean, or null."""
    return value if value.__class__ is bool else None


def long(value: Value) -> Value:
    """Return a long; a whole double (JSON knows no difference) is one."""
    if value.__class__ is int:
        return value
    if value.__class__ is float and value.is_integer() and MIN_LONG <= value <= MAX_LONG:
        return int(value)
    return None


def double(value: Value) -> Value:
    """Return a finite double."""
    if value.__class__ is float:
        return value if value - value == 0.0 else None
    return float(value) if value.__class__ is int else None


def string(value: Value) -> Value:
    """Return a string, or null."""
    return value if value.__class__ is str else None


def timestamp(value: Value) -> Value:
    """Return epoch ms, of a long or of ISO 8601 with an offset."""
    if value.__class__ is int:
        return value
    return parse_instant(value) if value.__class__ is str else None


def list_(value: Value) -> Value:
    """Return a list, or null."""
    return value if value.__class__ is list else None


def anything(value: Value) -> Value:
    """Return any value but an infinity or no number."""
    if value.__class__ is float and value - value != 0.0:
        return None
    return value


_GUARDS: dict[Type, Callable[[Value], Value]] = {
    "boolean": boolean,
    "long": long,
    "double": double,
    "string": string,
    "timestamp": timestamp,
}


def conform(value: Value, type_: Type) -> Value:
    """Return ``value`` as one of ``type_``, or null if it is none."""
    return guard(type_)(value)


def guard(type_: Type) -> Callable[[Value], Value]:
    """Return the function that makes a value conform to ``type_``."""
    if element_of(type_) is not None:
        return list_
    return _GUARDS.get(type_, anything)


def field_reader(root: str, name: str, type_: Type) -> Closure:
    """Return the closure that reads a field of a record; the scope is a ``RecordScope``."""
    fit = guard(type_)

    def read(scope: Scope) -> Value:
        value: Value = cast("RecordScope", scope).field(root, name)
        return None if value is None else fit(value)

    return read


def summation(of: Closure) -> Closure:
    """Return the closure that adds up ``of`` over all lines of a ``RecordScope``."""

    def total(scope: Scope) -> Value:
        lines = cast("RecordScope", scope).lines()
        values = [value for value in map(of, lines) if value.__class__ in (int, float)]
        if all(value.__class__ is int for value in values):
            return whole(sum(cast("list[int]", values)))
        return finite(math.fsum(cast("list[float]", values)))

    return total


def reader(root: Root, name: str, type_: Type) -> Closure:
    """Return the closure that reads a name; strings, the usual case, without a second call."""
    method = READERS[root]
    if type_ == "string":

        def read_string(scope: Scope) -> Value:
            value: Value = getattr(scope, method)(name)
            return value if value.__class__ is str else None

        return read_string
    fit = guard(type_)

    def read(scope: Scope) -> Value:
        value: Value = getattr(scope, method)(name)
        return None if value is None else fit(value)

    return read
