"""A lifecycle that reads itself and never comes to rest: a -> b -> a on one unchanged profile.

Every condition is taken apart into atoms; those that do not read the lifecycle are tried both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from orchestrator.expressions import typed as tree
from orchestrator.expressions.typed import Typed, children
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World
from orchestrator.stages.catalog import LifecycleRule

MAX_ATOMS = 10
"""1,024 ways; beyond that nobody is warned."""

Assignment = Mapping[object, bool]


def check_flapping(spot: Spot, rules: Sequence[LifecycleRule], world: World) -> None:
    """Warn of the first circle, at the condition that closes it."""
    conditions = [None if rule.condition is None else rule.condition.tree for rule in rules]
    if not any(condition is not None and _reads_itself(condition) for condition in conditions):
        return
    atoms: dict[object, None] = {}
    for condition in conditions:
        if condition is not None:
            _collect(condition, atoms)
    if len(atoms) > MAX_ATOMS:
        return
    names = [rule.name for rule in rules]
    for values in product((False, True), repeat=len(atoms)):
        circle = _circle(names, conditions, dict(zip(atoms, values, strict=True)))
        if circle:
            first = next(
                each
                for each, condition in zip(spot, conditions, strict=True)
                if condition is not None and _reads_itself(condition)
            )
            world.report(
                first["if"].mark,
                "flapping-lifecycle",
                f"on one unchanged profile this can go {' -> '.join([*circle, circle[0]])}",
                "a condition may hold on to its own name, never push away from it",
            )
            return


def _is_lifecycle(node: Typed) -> bool:
    return isinstance(node, tree.Read) and node.root == "profile" and node.name == "lifecycle"


def _reads_itself(node: Typed) -> bool:
    return _is_lifecycle(node) or any(_reads_itself(child) for child in children(node))


def _asked(node: Typed) -> tuple[frozenset[object], bool] | None:
    """Return the names that ``node`` asks lifecycle for, and whether it wants one of them."""
    match node:
        case tree.Compare(comparison=("==" | "!=") as comparison, left=left, right=right):
            for one, other in ((left, right), (right, left)):
                if _is_lifecycle(one) and isinstance(other, tree.Const):
                    return frozenset({other.value}), comparison == "=="
        case tree.In(item=item, options=tree.ListOf(items=items)) if _is_lifecycle(item):
            return frozenset(each.value for each in items if isinstance(each, tree.Const)), True
        case _:
            pass
    return None


def _key(node: Typed) -> object:
    """Return what tells a node from others, its place left out."""
    fields = tuple(
        (name, getattr(node, name))
        for name in node.__slots__
        if name not in ("offset", "of", "left", "right", "items", "item", "options", "arguments")
        and isinstance(getattr(node, name), str | int | float | bool | None)
    )
    return (type(node).__name__, fields, tuple(_key(child) for child in children(node)))


def _collect(node: Typed, atoms: dict[object, None]) -> None:
    match node:
        case tree.And() | tree.Or() | tree.Not() | tree.Either(type="boolean"):
            for child in children(node):
                _collect(child, atoms)
        case _ if _asked(node) is None:
            atoms[_key(node)] = None
        case _:
            pass


def _holds(node: Typed, current: str, given: Assignment) -> bool:
    match node:
        case tree.And(items=items):
            return all(_holds(item, current, given) for item in items)
        case tree.Or(items=items):
            return any(_holds(item, current, given) for item in items)
        case tree.Not(of=of):
            return not _holds(of, current, given)
        case tree.Either(type="boolean", condition=condition, then=then, otherwise=otherwise):
            return _holds(then if _holds(condition, current, given) else otherwise, current, given)
        case _:
            asked = _asked(node)
            if asked is None:
                return given[_key(node)]
            names, wanted = asked
            return (current in names) == wanted


def _circle(
    names: Sequence[str], conditions: Sequence[Typed | None], given: Assignment
) -> list[str]:
    """Return the names that follow each other without end, or nothing."""

    def following(current: str) -> str:
        for name, condition in zip(names, conditions, strict=True):
            if condition is None or _holds(condition, current, given):
                return name
        return ""

    for start in names:
        path = [start]
        while (after := following(path[-1])) not in path:
            path.append(after)
        ring = path[path.index(after) :]
        if len(ring) > 1 and "" not in ring:
            return ring
    return []
