"""The static types of expressions, as words, so that diagnostics can print them as they are."""

from __future__ import annotations

from typing import Literal, cast

Type = Literal[
    "null",
    "boolean",
    "long",
    "double",
    "string",
    "timestamp",
    "any",
    "list(boolean)",
    "list(long)",
    "list(double)",
    "list(string)",
    "list(timestamp)",
    "list(any)",
]
"""``any`` = not declared anywhere; checked while it runs, and what does not fit is null or false."""

NUMERIC = frozenset({"long", "double"})
ORDERED = frozenset({"long", "double", "string", "timestamp"})


def list_of(element: Type) -> Type:
    """Return the type of a list of ``element``; a list of nothing but null is a list of any."""
    return cast("Type", f"list({'any' if element == 'null' else element})")


def element_of(type_: Type) -> Type | None:
    """Return what a list holds, or None if ``type_`` is no list."""
    if type_.startswith("list("):
        return cast("Type", type_[5:-1])
    return None


def unify(left: Type, right: Type) -> Type | None:
    """Return the type that holds both, or None if no one type does."""
    if right in (left, "null"):
        return left
    if left == "null":
        return right
    if left == "any" or right == "any":
        return "any"
    if left in NUMERIC and right in NUMERIC:
        return "double"
    return None
