"""messages/*.yaml: classes with their presets, conditions, and what the templates refer to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.expressions import Environment, Expression, Names
from orchestrator.expressions.checker import longest
from orchestrator.expressions.durations import parse_duration
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys.content import Variable, variables
from orchestrator.journeys.forms import PRESETS
from orchestrator.journeys.nodes import Scalar
from orchestrator.journeys.repeats import again_of
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.template_faults import fault
from orchestrator.journeys.world import World
from orchestrator.stages.catalog import Channel, Message

_NO_EVENT = (
    "a message is rendered later; write entry.NAME (what started) or latest.NAME (what moved it)"
)


def compile_message(
    spot: Spot,
    definition: str,
    heard: tuple[Names, Names],
    channels: Mapping[str, Channel],
    world: World,
) -> Message:
    """Return the compiled message.

    Args:
        spot: Its checked source.
        definition: Its hash.
        heard: What entry and latest may hold in the journeys that send it.
        channels: The policy's.
        world: Names, and where findings go.
    """
    class_ = spot.plain("class", "promotional")
    preset = PRESETS[class_]
    entry, latest = heard
    place = world.place(
        profile=world.profile, entry=entry, latest=latest, missing={"event": _NO_EVENT}
    )
    usual = "never" if class_ == "promotional" else "always"
    message = Message(
        name=spot["message"].value,
        category=spot["category"].value,
        definition=definition,
        class_=class_,
        obeys_caps=spot.plain("obeys_caps", preset["obeys_caps"]),
        counts_to_caps=spot.plain("counts_to_caps", preset["counts_to_caps"]),
        obeys_quiet_hours=spot.plain("obeys_quiet_hours", preset["obeys_quiet_hours"]),
        cancel_on_exit=spot.plain("cancel_on_exit", preset["cancel_on_exit"]),
        about=spot.plain("about"),
        obsolete_if=world.condition(spot.get("obsolete_if"), place, watched=True),
        expires=parse_duration(spot.plain("expires", "P7D")),
        repeat=again_of(spot.plain("repeat", usual)),
        content={
            name: _content(name, each, spot, place, world)
            for name, each in spot["channels"].items()
        },
    )
    if not spot["channels"].value:
        world.report(
            spot["channels"].mark, "no-content", "a message has content for a channel at least"
        )
    _check_category(message, spot, channels, world)
    return message


def _check_category(
    message: Message, spot: Spot, channels: Mapping[str, Channel], world: World
) -> None:
    """A category must be declared where consent to it matters."""
    asks = any(
        name in channels and channels[name].needs_consent and not channels[name].internal
        for name in message.content
    )
    if message.class_ != "mandatory" and asks:
        world.category(spot["category"])


def _content(
    channel: str, spot: Spot, message: Spot, place: Environment, world: World
) -> Mapping[str, Expression]:
    key = next(key for key in message["channels"].words() if key.value == channel)
    world.channel(key)
    if not spot.value:
        world.report(key.mark, "no-content", f"there is nothing to send on {channel!r}")
    found: dict[str, Expression] = {}
    guarded: set[str] = set()
    for each in dict(spot.items()).values():
        node = each.node
        if not isinstance(node, Scalar):  # pragma: no cover - fields are scalars
            continue
        wrong = fault(node.text)
        if wrong is not None:
            world.report(node.at(wrong.offset), "bad-expression", wrong.text, wrong.remedy)
            continue
        references, strays = variables(node.text)
        for stray in strays:
            world.report(
                node.at(stray.offset),
                "bad-expression",
                f"nobody sets the template variable {stray.name!r}",
                _meant(stray.name, place),
            )
        for variable in references:
            name = _declared(variable, place)
            if not name:
                world.report(
                    node.at(variable.offset),
                    "bad-expression",
                    f"{variable.root} alone is no value",
                    f"name what you want of it, as in {variable.root}.name",
                )
                continue
            mark = node.at(variable.offset)
            written = Scalar(mark, name, name, "json" if "[" in name else "", name)
            expression = world.expression(Spot(name, written), place)
            if expression.text == name:
                read = f"{variable.root}.{name_of(expression, variable.root)}"
                found[read] = expression
                guarded |= {read} if variable.guarded else set()
    world.needs[message["message"].value, channel] = frozenset(found.keys() - guarded)
    return dict(sorted(found.items()))


def _meant(name: str, place: Environment) -> str:
    names = {} if place.profile is None else place.profile.types
    if name in names:
        return f"write profile.{name}"
    return did_you_mean(name, names) or "write profile.NAME, entry.NAME or latest.NAME"


def name_of(expression: Expression, root: str) -> str:
    """Return the one name that a reading expression reads."""
    names: frozenset[str] = getattr(expression.references, "traits" if root == "profile" else root)
    tree = expression.tree
    return str(getattr(tree, "name", next(iter(names), "")))


def _declared(variable: Variable, place: Environment) -> str:
    """Return the expression that reads it; a method behind a declared name is Jinja2's business."""
    path = list(variable.path)
    names: Names | None = getattr(place, variable.root)
    length = longest(path, names) if names is not None else 0
    if 0 < length < len(path):
        path = path[:length]
    elif variable.called and length == 0:
        path = path[:-1]
    if not path:
        return ""
    text: str = variable.root
    for part in path:
        text += f".{part}" if re.fullmatch(r"[A-Za-z_]\w*", part, re.ASCII) else f'["{part}"]'
    return text
