"""When time alone may change a condition: the exact instant, computed, never polled.

An atom compares ONE term that moves with time (``now()``, ``days_since``, ``count``, a score, a
windowed count or sum) with something that does not. Whatever else moves with time is unwatchable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from orchestrator.expressions import typed as tree
from orchestrator.expressions.closures import closure
from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.typed import children

if TYPE_CHECKING:
    from orchestrator.expressions.reads import Closure
    from orchestrator.expressions.scope import Comparison, Scope
    from orchestrator.expressions.typed import Typed

Watch = Callable[["Scope"], "int | None"]
_MIRRORED: dict[Comparison, Comparison] = {
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
    "==": "==",
    "!=": "!=",
}
_REMEDY = (
    "compare one of now(), days_since(), count() or a timed trait with something that time does not "
    "move, or ask it in an `if`"
)


def moves(node: Typed) -> bool:
    """Return whether time alone may change the value of ``node``."""
    match node:
        case tree.Now() | tree.Count() | tree.DaysSince():
            return True
        case tree.Read(timed=timed, derived=derived):
            return timed or (derived is not None and moves(derived))
        case _:
            return any(moves(child) for child in children(node))


def watch(node: Typed) -> Watch | None:  # noqa: PLR0911 - one case for each kind of condition
    """Return the function that gives the next instant, or None if time changes nothing.

    Raises:
        ExpressionError: ``unwatchable``.
    """
    if not moves(node):
        return None
    match node:
        case tree.And(items=items):
            return _several(items, decided_by=False)
        case tree.Or(items=items):
            return _several(items, decided_by=True)
        case tree.Not(of=of):
            return watch(of)
        case tree.Either():
            return _either(node)
        case tree.IsNull(of=of):
            return _is_null(of, node.offset)
        case tree.Read(derived=derived) if derived is not None and node.type == "boolean":
            return watch(derived)
        case tree.Compare():
            return _compare(node)
        case _:
            raise _unwatchable(node.offset)


def _unwatchable(offset: int) -> ExpressionError:
    return ExpressionError(
        "unwatchable", offset, "the instant at which time changes this cannot be computed", _REMEDY
    )


def _earliest(watches: list[Watch], scope: Scope) -> int | None:
    return min((at for each in watches if (at := each(scope)) is not None), default=None)


def _several(items: tuple[Typed, ...], *, decided_by: bool) -> Watch:
    """And is decided by a false operand, Or by a true one, if time does not move that operand."""
    still = [closure(item) for item in items if not moves(item)]
    watches = [each for item in items if (each := watch(item)) is not None]

    def next_change(scope: Scope) -> int | None:
        if any((condition(scope) is True) == decided_by for condition in still):
            return None
        return _earliest(watches, scope)

    return next_change


def _either(node: tree.Either) -> Watch:
    if node.type != "boolean":
        raise _unwatchable(node.offset)
    first, then, otherwise = watch(node.condition), watch(node.then), watch(node.otherwise)
    if first is None:
        condition = closure(node.condition)

        def chosen(scope: Scope) -> int | None:
            arm = then if condition(scope) is True else otherwise
            return None if arm is None else arm(scope)

        return chosen
    watches = [each for each in (first, then, otherwise) if each is not None]
    return lambda scope: _earliest(watches, scope)


def _is_null(of: Typed, offset: int) -> Watch | None:
    match of:
        case tree.Now() | tree.Count() | tree.Read(timed=True):
            return None
        case tree.DaysSince(of=inner):
            return _is_null(inner, offset) if moves(inner) else None
        case tree.Read(derived=derived) if derived is not None:
            return _is_null(derived, offset)
        case _:
            raise _unwatchable(offset)


def _inlined(node: Typed) -> Typed:
    while isinstance(node, tree.Read) and node.derived is not None:
        node = node.derived
    return node


def _compare(node: tree.Compare) -> Watch | None:
    left, right, comparison = _inlined(node.left), _inlined(node.right), node.comparison
    if moves(left) and moves(right):
        raise _unwatchable(node.offset)
    if moves(right):
        left, right, comparison = right, left, _MIRRORED[comparison]
    if left.type == "boolean":
        return watch(left)
    return _term(left, comparison, closure(right), node.offset)


def _number(bound: Closure, scope: Scope) -> float | int | None:
    value = bound(scope)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _term(term: Typed, comparison: Comparison, bound: Closure, offset: int) -> Watch:
    match term:
        case tree.Now():
            return _now(comparison, bound)
        case tree.Count(event=event, window_ms=window):

            def count(scope: Scope) -> int | None:
                value = _number(bound, scope)
                if value is None:
                    return None
                return scope.when_count_crosses(event, window, comparison, value)

            return count
        case tree.Read(timed=True, name=name):

            def trait(scope: Scope) -> int | None:
                value = _number(bound, scope)
                return None if value is None else scope.when_trait_crosses(name, comparison, value)

            return trait
        case tree.DaysSince(of=of) if not moves(of):
            instant = closure(of)

            def days(scope: Scope) -> int | None:
                value, since = _number(bound, scope), instant(scope)
                if value is None or since.__class__ is not int:
                    return None
                return scope.when_days_since(since, comparison, value)

            return days
        case _:
            raise _unwatchable(offset)


def _now(comparison: Comparison, bound: Closure) -> Watch:
    """``now`` reaches the bound, and one millisecond later it has passed it."""

    def next_change(scope: Scope) -> int | None:
        instant = bound(scope)
        if instant.__class__ is not int:
            return None
        reached = int(instant)
        candidates: tuple[int, ...]
        match comparison:
            case "<" | ">=":
                candidates = (reached,)
            case ">" | "<=":
                candidates = (reached + 1,)
            case "==" | "!=":
                candidates = (reached, reached + 1)
            case _:
                assert_never(comparison)
        return min((at for at in candidates if at > scope.now), default=None)

    return next_change
