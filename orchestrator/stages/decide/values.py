"""Values as declared: what arrives is made to fit its type, or it is null. Nothing raises."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, TypeGuard

from orchestrator.stages.timestamps import to_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.expressions.scope import Value as ExpressionValue
    from orchestrator.records import Event, Value
    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Catalog, TraitType

_LONG = 2**63
_PLAIN: Mapping[str, type] = {"string": str, "boolean": bool}
"""Types whose every value fits: most properties need no second look."""


def fit(value: ExpressionValue, type_: TraitType, calendar: Calendar) -> Value:  # noqa: PLR0911 - one per type
    """Return ``value`` as one of ``type_``; null if it is none.

    A whole double is a long, a long is a double, text is a timestamp if it is ISO 8601 (a date is
    00:00 in the customer's zone). Numbers are never text and text is never a number. NaN and
    infinities are null.
    """
    match type_:
        case "any":
            if isinstance(value, str | bool):
                return value
            return value if is_number(value) else None
        case "string":
            return value if isinstance(value, str) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "timestamp":
            instant = None if isinstance(value, list) else to_instant(value, calendar)
            return instant if instant is None or -_LONG <= instant < _LONG else None
        case "double":
            return float(value) if is_number(value) else None
        case _:  # long
            if is_number(value) and value == int(value) and -_LONG <= value < _LONG:
                return int(value)
            return None


def fits(value: ExpressionValue, type_: TraitType) -> bool:
    """Return whether ``value`` certainly is one of ``type_`` as it stands: texts and booleans."""
    return _PLAIN.get(type_) is type(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether ``value`` is a number that can be kept: no boolean, finite, at most 64 bits."""
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -_LONG <= value < _LONG


def add(left: float, right: float) -> float:
    """Return the sum; a long that would overflow becomes a double, as MessagePack has no more."""
    total = left + right
    if isinstance(total, int) and not -_LONG <= total < _LONG:
        return float(total)
    return total


def order(value: Value) -> tuple[int, float, str]:
    """Return a key that puts any two values in one total order: null, booleans, numbers, text."""
    match value:
        case None:
            return (0, 0.0, "")
        case bool():
            return (1, value, "")
        case str():
            return (3, 0.0, value)
        case _:
            return (2, value, type(value).__name__)


def as_declared(event: Event, catalog: Catalog) -> bool:
    """Return whether an event's properties are all as events.yaml has them: nothing is to be fitted."""
    declared = None if catalog.events is None else catalog.events.get(event.type)
    if declared:
        for name, value in event.properties.items():
            type_ = declared.get(name)
            if type_ is not None and not fits(value, type_):
                return False
    return True


def properties_of(event: Event, catalog: Catalog, calendar: Calendar) -> Mapping[str, Value]:
    """Return an event's properties as events.yaml declares them; undeclared ones as they are."""
    if catalog.events is None or as_declared(event, catalog):
        return event.properties
    declared = catalog.events[event.type]
    return {
        name: value if (type_ := declared.get(name)) is None else fit(value, type_, calendar)
        for name, value in event.properties.items()
    }
