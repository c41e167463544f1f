"""Where the expressions, steps and patterns of one journey stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.expressions import Environment
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys import nodes
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World
from orchestrator.stages.catalog import Pattern


@dataclass(frozen=True, slots=True)
class Place:
    """Where expressions of one journey stand."""

    world: World
    plain: Environment

    def hearing(self, types: tuple[str, ...]) -> Environment:
        """Return the place beside ``on:`` with these types."""
        if not types:
            return self.plain
        return replace(self.plain, event=self.world.properties(types))


def step_ids(spot: Spot) -> dict[str, bool]:
    """Return all step ids, those with findings included; true = it sends."""
    found: dict[str, bool] = {}
    steps = spot["steps"].node
    for node in steps.items if isinstance(steps, nodes.Sequence) else ():
        if isinstance(node, nodes.Mapping):
            keys = {key.text: value for key, value in node.items}
            name = keys.get("id")
            if isinstance(name, nodes.Scalar):
                found[name.text] = "send" in keys or "choose" in keys
    return found


def step_name(spot: Spot | None, place: Place) -> str | None:
    """Return the id of a step that exists, or report it."""
    if spot is None:
        return None
    known = place.plain.steps or {}
    if spot.value not in known:
        place.world.report(
            spot.mark,
            "unknown-step",
            f"step {spot.value!r} is not known",
            did_you_mean(spot.value, known),
        )
    return str(spot.value)


def pattern_of(spot: Spot, place: Place) -> Pattern:
    """Return what to listen for."""
    world = place.world
    on = world.types(spot.get("on"))
    of = _sending_step(spot, on, place)
    return Pattern(
        on=on,
        when=world.condition(spot.get("when"), place.plain, watched=True),
        condition=world.condition(spot.get("if"), place.hearing(on)),
        of=of,
        then=step_name(spot.get("then"), place),
        again=spot.plain("again", False),
    )


def _sending_step(spot: Spot, on: tuple[str, ...], place: Place) -> str | None:
    of = spot.get("of")
    if of is None:
        return None
    known = place.plain.steps or {}
    if not all(type_.startswith("message.") for type_ in on):
        place.world.report(
            spot.key_mark("of"), "unknown-key", "'of' stands only beside receipts (on: message....)"
        )
    elif of.value in known and not known[of.value]:
        place.world.report(of.mark, "wrong-step", f"step {of.value!r} sends nothing")
    return step_name(of, place)
