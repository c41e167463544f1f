"""Nested JSON becomes the flat properties of an Event: dotted names, scalar values.

Decided here, for every source alike:

- ``{"a": {"b": 1}}`` is ``a.b``; an empty object says nothing and is left out.
- An array is one string of compact JSON: kept for templates and for people, opaque to conditions.
- An integer beyond 64 bits becomes a double, as every JSON reader outside Python would have it.
- ``null`` is kept: in ``customer.updated`` it clears a trait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from orchestrator.errors import InputError
from orchestrator.records import Value

MAX_DEPTH = 16
"""Deeper objects are somebody's document store, not properties of an event."""
_LONG = range(-(2**63), 2**63)


def flatten(nested: Mapping[str, Any]) -> dict[str, Value]:
    """Return dotted names and scalar values.

    Raises:
        InputError: Nested too deeply, or a number beyond what a double holds.
    """
    return dict(_walk(nested, "", 1))


def _walk(nested: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Value]]:
    if depth > MAX_DEPTH:
        raise InputError(f"properties are nested deeper than {MAX_DEPTH}", "too_deep")
    for key, value in nested.items():
        name = prefix + key
        match value:
            case dict():
                yield from _walk(value, name + ".", depth + 1)
            case list():
                yield name, msgspec.json.encode(value).decode()
            case bool():
                yield name, value
            case int() if value not in _LONG:
                yield name, _double(name, value)
            case _:
                yield name, value


def _double(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{name}: the number is out of range", "out_of_range") from error
