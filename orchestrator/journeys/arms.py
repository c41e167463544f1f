"""Arms that are tried in order: none behind one that always holds, none twice, a default last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from orchestrator.expressions import Expression
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World


def constant(condition: Expression | None) -> bool | None:
    """Return what a condition always is, or None if it depends on something."""
    if condition is None:
        return True
    if not condition.constant or condition.type == "null":
        return None
    return condition.holds(cast("Any", None))


def check_arms(spot: Spot, conditions: Sequence[Expression | None], world: World) -> None:
    """Report arms that are never reached, and a missing default."""
    always = False
    texts: set[str] = set()
    for each, condition in zip(spot, conditions, strict=True):
        fixed = constant(condition)
        if always:
            world.report(
                each.mark,
                "unreachable-arm",
                "the arm before it always holds",
                "remove it, or move it up",
            )
            return
        if fixed is False:
            world.report(each["if"].mark, "unreachable-arm", "this is never true")
        elif condition is not None and condition.text in texts and condition.type != "null":
            world.report(each["if"].mark, "unreachable-arm", "an earlier arm asks the same")
        if condition is not None:
            texts.add(condition.text)
        always = fixed is True
    if not always:
        world.report(
            spot.mark,
            "no-default-arm",
            "nothing says what holds when no condition does",
            "end with an arm without if:",
        )
