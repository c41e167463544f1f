"""Where a journey's steps lead: loops that never wait, and steps that nothing reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from orchestrator.journeys.arms import constant
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World
from orchestrator.stages.catalog import (
    Branch,
    Choose,
    Journey,
    Send,
    SetTraits,
    Split,
    Step,
    Stop,
    Wait,
    WaitFor,
)


def leads_to(step: Step) -> list[str]:
    """Return the steps that may come next, the end of the journey left out."""
    do = step.do
    found: list[str | None]
    match do:
        case Send() | Wait() | SetTraits():
            found = [step.then]
        case WaitFor(patterns=patterns):
            found = [*(pattern.then for pattern in patterns), step.then]
        case Branch(arms=arms):
            found = [arm.then for arm in arms]
            if not any(constant(arm.condition) is True for arm in arms):
                found.append(step.then)
        case Split(arms=shares):
            found = [arm.then or step.then for arm in shares]
        case Choose(among=options):
            # None eligible: the step's own next.
            found = [*(option.then for option in options), step.then]
        case Stop():
            found = []
        case _:
            assert_never(do)
    if step.condition is not None:
        found.append(step.then)
    return list(dict.fromkeys(name for name in found if name is not None))


def check_graph(spot: Spot, journey: Journey, spots: Mapping[str, Spot], world: World) -> None:
    """Report loops and unreachable steps; silent where steps themselves have findings."""
    edges = {name: leads_to(step) for name, step in journey.steps.items()}
    starts = [journey.first, *(each.then for each in journey.interrupts if each.then)]
    if (
        _written(spot, "steps") != len(journey.steps)
        or _written(spot, "interrupts") != len(journey.interrupts)
        or any(to not in edges for each in [starts, *edges.values()] for to in each)
    ):
        return
    reached = _reach(starts, edges)
    for name in journey.steps:
        if name not in reached:
            world.report(
                spots[name]["id"].mark,
                "unreachable-step",
                f"nothing leads to step {name!r}",
                "remove it",
            )
    waiting = {name for name, step in journey.steps.items() if isinstance(step.do, Wait | WaitFor)}
    hasty = {
        name: [to for to in edges[name] if to not in waiting]
        for name in journey.steps
        if name not in waiting
    }
    _check_loops(hasty, spots, world)


def _written(spot: Spot, key: str) -> int:
    """Return how many items the author wrote under ``key``, those with findings included."""
    found = (value for name, value in getattr(spot.node, "items", ()) if name.text == key)
    return len(getattr(next(found, None), "items", ()))


def _reach(starts: list[str], edges: Mapping[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    stack = list(starts)
    while stack:
        name = stack.pop()
        if name not in reached:
            reached.add(name)
            stack.extend(edges[name])
    return reached


def _check_loops(hasty: Mapping[str, list[str]], spots: Mapping[str, Spot], world: World) -> None:
    """Report one finding for each set of steps that reach each other without a wait."""
    reported: set[str] = set()
    for name in hasty:
        if name in reported:
            continue
        behind = _reach(hasty[name], hasty)
        if name not in behind:
            continue
        ring = [other for other in hasty if other in behind and name in _reach(hasty[other], hasty)]
        reported |= set(ring)
        world.report(
            spots[name]["id"].mark,
            "cycle-without-wait",
            f"{' -> '.join([*ring, name])} never waits",
            "put a wait into the loop",
        )
