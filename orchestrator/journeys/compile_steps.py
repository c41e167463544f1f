"""The steps of a journey, each to what it does; where each leads is resolved here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.journeys.arms import check_arms
from orchestrator.journeys.compile_policy import duration_of, hundredths
from orchestrator.journeys.grammar_journeys import DOING
from orchestrator.journeys.places import Place, pattern_of, step_name
from orchestrator.journeys.spots import Spot, parse_clock
from orchestrator.stages.catalog import (
    Branch,
    BranchArm,
    Choose,
    Do,
    Goal,
    Message,
    Option,
    Pattern,
    Policy,
    Send,
    SetTraits,
    Split,
    SplitArm,
    Step,
    Stop,
    Wait,
    WaitFor,
)

_WHOLE = 10_000
_NEVER_FOR_TRANSACTIONAL = frozenset({"gap", "arbitration", "protected", "holdout"})
_ALWAYS_MEANT = frozenset({"address", "already_sent", "obsolete"})


@dataclass(frozen=True, slots=True)
class Known:
    """What sends are checked against."""

    policy: Policy
    messages: Mapping[str, Message]


def compile_steps(
    spot: Spot, place: Place, policy: Policy, messages: Mapping[str, Message]
) -> tuple[list[Step], dict[str, Spot]]:
    """Return the steps in their order, and their spots by id."""
    known = Known(policy, messages)
    steps: list[Step] = []
    spots: dict[str, Spot] = {}
    written = list(spot["steps"])
    ids = [each["id"].value for each in written]
    for number, each in enumerate(written):
        name = ids[number]
        if name in spots:
            place.world.report(
                each["id"].mark, "duplicate-step", f"step {name!r} stands here twice"
            )
            continue
        was = each.get("was")
        if was is not None and was.value in ids:
            place.world.report(was.mark, "duplicate-step", f"step {was.value!r} is still here")
        spots[name] = each
        following = ids[number + 1] if number + 1 < len(ids) else None
        steps.append(
            Step(
                id=name,
                do=_do(each, place, known),
                then=step_name(each.get("then"), place) or following,
                condition=place.world.condition(each.get("if"), place.plain),
                was=each.plain("was"),
            )
        )
    return steps, spots


def _do(spot: Spot, place: Place, known: Known) -> Do:  # noqa: PLR0911 - one case for each kind of step
    word = next(word for word in DOING if word in spot)
    match word:
        case "send":
            return _send(spot["send"], place, known)
        case "wait":
            return _wait(spot["wait"], place)
        case "wait_for":
            return _wait_for(spot["wait_for"], place)
        case "branch":
            return _branch(spot["branch"], place)
        case "split":
            return _split(spot["split"], place)
        case "choose":
            return _choose(spot["choose"], place, known)
        case "set":
            return _set(spot["set"], place)
        case _:
            if spot["stop"].value is not True:
                place.world.report(spot["stop"].mark, "wrong-type", "stop is true, or not there")
                return SetTraits(values={})
            return Stop()


def _send(spot: Spot, place: Place, known: Known) -> Send:
    world = place.world
    name = world.message(spot["message"])
    message = known.messages.get(name)
    for channel in spot["channel"]:
        defined = world.channel(channel) in (world.channels or ())
        if defined and message is not None and _lacks(message, channel.value):
            world.report(
                channel.mark,
                "no-content",
                f"message {name!r} has no content for {channel.value!r}",
                f"it has {', '.join(message.content)}" if message.content else "",
            )
    channels = tuple(dict.fromkeys(channel.value for channel in spot["channel"]))
    if message is not None:
        _check_values(spot["message"], message, channels, place)
    if "on_block" in spot and message is not None:
        _check_on_block(spot["on_block"], message, channels, place, known)
    return Send(
        message=name,
        channels=channels,
        again=spot.plain("again", False),
        value=world.number(spot.get("value"), place.plain),
        on_block=spot.plain("on_block", {}),
    )


def _check_values(spot: Spot, message: Message, channels: tuple[str, ...], place: Place) -> None:
    """Warn of what a template needs and no event of this journey carries: rendering would fail."""
    heard = {"entry": place.plain.entry, "latest": place.plain.latest}
    needs = place.world.needs
    wanted = {name for channel in channels for name in needs.get((message.name, channel), ())}
    for name in sorted(wanted):
        root, _, path = name.partition(".")
        if root not in heard:
            continue
        names = heard[root]
        if names is None or not (names.open or path in names.types):
            who = "starts" if root == "entry" else "starts or moves"
            place.world.report(
                spot.mark,
                "missing-value",
                f"the template of {message.name!r} needs {name}, which no event that {who} this "
                "journey carries: it could not be rendered",
                f"write {{{{ {name} | default('...') }}}} there, or send another message",
            )


def _lacks(message: Message, channel: str) -> bool:
    """Whether there is no content for a channel; a message without any is reported itself."""
    return bool(message.content) and channel not in message.content


def _check_on_block(
    spot: Spot, message: Message, channels: tuple[str, ...], place: Place, known: Known
) -> None:
    """Report blocks that can never occur for this send."""
    internal = all(
        name in known.policy.channels and known.policy.channels[name].internal for name in channels
    )
    for key in spot.words():
        block = str(key.value)
        if block in _ALWAYS_MEANT:
            continue
        reason = ""
        if internal:
            reason = "its channels are internal"
        elif block == "cap":
            reason = "" if message.obeys_caps else f"message {message.name!r} obeys no caps"
        elif block == "quiet_hours":
            reason = (
                ""
                if message.obeys_quiet_hours
                else f"message {message.name!r} obeys no quiet hours"
            )
        elif message.class_ == "mandatory" or (
            message.class_ == "transactional" and block in _NEVER_FOR_TRANSACTIONAL
        ):
            reason = f"message {message.name!r} is {message.class_}"
        if reason:
            place.world.report(
                key.mark,
                "meaningless-on-block",
                f"{block} never blocks this send: {reason}",
                "remove it",
            )


def _clock(spot: Spot | None) -> int | None:
    return None if spot is None else parse_clock(spot.value)


def _wait(spot: Spot, place: Place) -> Wait:
    weekdays = frozenset(spot.plain("weekdays", ()))
    until = spot.get("until")
    if until is None:
        return Wait(duration=parse_duration(spot["for"].value))
    if until.value.startswith("next "):
        for name in ("plus", "minus", "at"):
            if name in spot:
                place.world.report(
                    spot.key_mark(name), "unknown-key", f"{name!r} does not go with next HH:MM"
                )
        return Wait(next_time=parse_clock(until.value[5:]), weekdays=weekdays)
    if weekdays:
        place.world.report(
            spot.key_mark("weekdays"), "unknown-key", "'weekdays' goes only with next HH:MM"
        )
    return Wait(
        until=place.world.expression(until, place.plain, expect=("timestamp", "string")),
        plus=duration_of(spot.get("plus")),
        minus=duration_of(spot.get("minus")),
        at=_clock(spot.get("at")),
        if_past=spot.plain("if_past", "continue"),
    )


def _wait_for(spot: Spot, place: Place) -> WaitFor:
    mode = "first" if "first" in spot else "best"
    patterns = tuple(pattern_of(each, place) for each in spot[mode])
    _check_patterns(spot[mode], patterns, place)
    return WaitFor(
        mode="first" if mode == "first" else "best",
        patterns=patterns,
        timeout=parse_duration(spot["timeout"].value),
        since=spot.plain("since", "step"),
        restart=place.world.types(spot.get("restart")),
    )


def _check_patterns(spot: Spot, patterns: tuple[Pattern, ...], place: Place) -> None:
    for number, (each, pattern) in enumerate(zip(spot, patterns, strict=True)):
        if any(_covers(earlier, pattern) for earlier in patterns[:number]):
            place.world.report(
                each.mark, "unreachable-arm", "an earlier pattern matches all that this one does"
            )


def _covers(earlier: Pattern, pattern: Pattern) -> bool:
    if earlier.when is not None or pattern.when is not None:
        return (
            earlier.when is not None and earlier.when == pattern.when and earlier.condition is None
        )
    return (
        set(pattern.on) <= set(earlier.on)
        and earlier.of in (None, pattern.of)
        and (earlier.condition is None or earlier.condition == pattern.condition)
    )


def _branch(spot: Spot, place: Place) -> Branch:
    arms = tuple(
        BranchArm(
            condition=place.world.condition(each.get("if"), place.plain),
            then=cast("str", step_name(each["then"], place)),
        )
        for each in spot
    )
    check_arms(spot, [arm.condition for arm in arms], place.world)
    return Branch(arms=arms)


def _split(spot: Spot, place: Place) -> Split:
    arms: list[SplitArm] = []
    for each in spot:
        name = each["name"]
        if name.value in [arm.name for arm in arms]:
            place.world.report(name.mark, "duplicate-name", f"{name.value!r} stands here twice")
        arms.append(
            SplitArm(
                name=name.value,
                share=hundredths(each["share"]),
                then=step_name(each.get("then"), place),
            )
        )
    total = sum(arm.share for arm in arms)
    if total != _WHOLE:
        place.world.report(spot.mark, "bad-shares", f"the shares make {total / 100:g} %, not 100 %")
    return Split(arms=tuple(arms))


def _choose(spot: Spot, place: Place, known: Known) -> Choose:
    place.world.report(
        spot.mark,
        "not-learned",
        "nothing learns yet: the first eligible option is always taken",
        "put the option first that you would send to everybody",
    )
    options: list[Option] = []
    for each in spot["among"]:
        name = each["name"]
        if name.value in [option.name for option in options]:
            place.world.report(name.mark, "duplicate-name", f"{name.value!r} stands here twice")
        options.append(
            Option(
                name=name.value,
                send=_send(each["send"], place, known),
                condition=place.world.condition(each.get("if"), place.plain),
                cost=float(each.plain("cost", 0)),
                then=step_name(each.get("then"), place),
            )
        )
    return Choose(
        decision=spot["decision"].value,
        among=tuple(options),
        context=tuple(
            place.world.expression(each, place.plain) for each in spot.value.get("context", ())
        ),
        outcome=_outcome(spot["outcome"], place),
        explore=hundredths(spot["explore"]) if "explore" in spot else 0,
    )


def _outcome(spot: Spot, place: Place) -> Goal:
    pattern = pattern_of(spot, place)
    return Goal(
        pattern=pattern,
        within=cast("Duration", duration_of(spot["within"])),
        value=place.world.number(spot.get("value"), place.hearing(pattern.on)),
    )


def _set(spot: Spot, place: Place) -> SetTraits:
    return SetTraits(
        values={
            str(key.value): place.world.set_trait(key, spot[key.value], place.plain)
            for key in spot.words()
        }
    )
