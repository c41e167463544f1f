"""The library: pure functions of values. None of them ever sees a null or raises.

Every function can be written in both ways, ``lower(x)`` and ``x.lower()``. With a null argument the
result is null; the predicates (startsWith, endsWith, contains, matches) are comparisons: false.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from orchestrator.expressions.instants import (
    MAX_INSTANT,
    MIN_INSTANT,
    format_instant,
    parse_instant,
)
from orchestrator.expressions.scope import Value
from orchestrator.expressions.types import NUMERIC, ORDERED, Type, element_of, unify

MIN_LONG = -(2**63)
MAX_LONG = 2**63 - 1
_LONG = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DOUBLE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)

Number = int | float
_CLASS_TYPES: dict[type, Type] = {bool: "boolean", int: "long", float: "double", str: "string"}


@dataclass(frozen=True, slots=True)
class Function:
    """``result`` gives the type for argument types, or None where they do not fit.

    ``run`` takes the arguments, none of them null; ``types`` are their static types (a timestamp
    and a long are both ints at run time).
    """

    arguments: Literal[1, 2] | None
    """None = two or more."""
    wants: str
    """For diagnostics."""
    result: Callable[[Sequence[Type]], Type | None]
    run: Callable[[Sequence[Value], Sequence[Type]], Value]
    predicate: bool = False


def type_of(value: Value, declared: Type) -> Type:
    """Return the type of a value that is there: the declared one, or what its class says."""
    if declared != "any":
        return declared
    if isinstance(value, list):
        return "list(any)"
    return _CLASS_TYPES[value.__class__]


def _one_of(*types: Type, gives: Type) -> Callable[[Sequence[Type]], Type | None]:
    allowed = frozenset(types) | {"any", "null"}
    return lambda given: gives if all(type_ in allowed for type_ in given) else None


def finite(number: float) -> float | None:
    """Return the number, or None for an infinity or no number."""
    return number if math.isfinite(number) else None


def whole(number: int) -> int | None:
    """Return the number, or None if it is no 64-bit long."""
    return number if MIN_LONG <= number <= MAX_LONG else None


def _text(change: Callable[[str], str]) -> Callable[[Sequence[Value], Sequence[Type]], Value]:
    def run(values: Sequence[Value], types: Sequence[Type]) -> Value:
        del types
        value = values[0]
        return change(value) if isinstance(value, str) else None

    return run


def _test(check: Callable[[str, str], bool]) -> Callable[[Sequence[Value], Sequence[Type]], Value]:
    def run(values: Sequence[Value], types: Sequence[Type]) -> Value:
        del types
        value, other = values
        return isinstance(value, str) and isinstance(other, str) and check(value, other)

    return run


def _size_type(given: Sequence[Type]) -> Type | None:
    (type_,) = given
    return "long" if type_ in ("string", "any", "null") or element_of(type_) else None


def _size(values: Sequence[Value], types: Sequence[Type]) -> Value:
    del types
    value = values[0]
    return len(value) if isinstance(value, str | list) else None


def _long(values: Sequence[Value], types: Sequence[Type]) -> Value:
    del types
    match values[0]:
        case bool() | list():
            return None
        case int() as number:
            return number
        case float() as number:
            return whole(int(number)) if math.isfinite(number) else None
        case str() as text if _LONG.fullmatch(text):
            return whole(int(text))
        case _:
            return None


def _double(values: Sequence[Value], types: Sequence[Type]) -> Value:
    del types
    match values[0]:
        case bool() | list():
            return None
        case int() | float() as number:
            return float(number)
        case str() as text if _DOUBLE.fullmatch(text):
            return finite(float(text))
        case _:
            return None


def format_double(number: float) -> str:
    """Return the shortest text that gives the number again, a whole one without ``.0``."""
    text = repr(number)
    return text.removesuffix(".0")


def _string(values: Sequence[Value], types: Sequence[Type]) -> Value:
    match values[0], types[0]:
        case bool() as truth, _:
            return "true" if truth else "false"
        case int() as instant, "timestamp":
            return format_instant(instant)
        case float() as number, _:
            return format_double(number)
        case (int() | str()) as value, _:
            return str(value)
        case _:
            return None


def _timestamp(values: Sequence[Value], types: Sequence[Type]) -> Value:
    del types
    match values[0]:
        case bool():
            return None
        case int() as instant:
            return instant if MIN_INSTANT <= instant <= MAX_INSTANT else None
        case str() as text:
            return parse_instant(text)
        case _:
            return None


def _extreme_type(given: Sequence[Type]) -> Type | None:
    result: Type = "null"
    for type_ in given:
        unified = unify(result, type_)
        if unified is None or (type_ not in ORDERED and type_ not in ("any", "null")):
            return None
        result = unified
    return result


def _extreme(
    pick: Callable[[list[Number]], Number],
) -> Callable[[Sequence[Value], Sequence[Type]], Value]:
    def run(values: Sequence[Value], types: Sequence[Type]) -> Value:
        kinds = {type_of(*pair) for pair in zip(values, types, strict=True)}
        if not (kinds <= NUMERIC or (len(kinds) == 1 and kinds <= ORDERED)):
            return None
        found = pick(cast("list[Number]", list(values)))
        return float(found) if len(kinds) > 1 else found

    return run


def _strip(text: str) -> str:
    return text.strip()


FUNCTIONS: dict[str, Function] = {
    "size": Function(1, "a string or a list", _size_type, _size),
    "lower": Function(1, "a string", _one_of("string", gives="string"), _text(str.lower)),
    "upper": Function(1, "a string", _one_of("string", gives="string"), _text(str.upper)),
    "trim": Function(1, "a string", _one_of("string", gives="string"), _text(_strip)),
    "startsWith": Function(
        2, "two strings", _one_of("string", gives="boolean"), _test(str.startswith), predicate=True
    ),
    "endsWith": Function(
        2, "two strings", _one_of("string", gives="boolean"), _test(str.endswith), predicate=True
    ),
    "contains": Function(
        2,
        "two strings",
        _one_of("string", gives="boolean"),
        _test(str.__contains__),
        predicate=True,
    ),
    "double": Function(
        1,
        "a number or a string",
        _one_of("long", "double", "string", gives="double"),
        _double,
    ),
    "long": Function(
        1,
        "a number, a string or a timestamp",
        _one_of("long", "double", "string", "timestamp", gives="long"),
        _long,
    ),
    "string": Function(
        1,
        "a string, a number, a boolean or a timestamp",
        _one_of("string", "long", "double", "boolean", "timestamp", gives="string"),
        _string,
    ),
    "timestamp": Function(
        1,
        "a string such as '2026-05-01T09:00:00Z', or epoch milliseconds",
        _one_of("string", "long", "timestamp", gives="timestamp"),
        _timestamp,
    ),
    "min": Function(
        None, "numbers, timestamps or strings, of one kind", _extreme_type, _extreme(min)
    ),
    "max": Function(
        None, "numbers, timestamps or strings, of one kind", _extreme_type, _extreme(max)
    ),
}
