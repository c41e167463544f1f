"""journeys/*.yaml: entry, goal, exits, interrupts; the steps are in ``compile_steps``."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.expressions import Expression, Names
from orchestrator.expressions.durations import parse_duration
from orchestrator.journeys.compile_policy import duration_of, holdout_of
from orchestrator.journeys.compile_steps import compile_steps
from orchestrator.journeys.graph import check_graph
from orchestrator.journeys.places import Place, pattern_of, step_ids
from orchestrator.journeys.repeats import again_of
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World, union
from orchestrator.stages.catalog import EntryRule, Goal, Journey, Message, Policy

_EVENT = "the event is at hand only beside on:; write entry.NAME or latest.NAME"


def written_types(spot: Spot, *, entry_only: bool = False) -> list[str]:
    """Return the event types whose properties ``entry`` (or else ``latest``) may hold."""
    entry = spot["entry"]
    found = list(entry.plain("on", []))
    if entry_only:
        return found
    for interrupt in spot.value.get("interrupts", ()):
        found += interrupt.plain("on", [])
    for step in spot["steps"]:
        wait = step.get("wait_for")
        if wait is None:
            continue
        found += wait.plain("restart", [])
        for pattern in [*wait.value.get("first", ()), *wait.value.get("best", ())]:
            found += pattern.plain("on", [])
    return found


def sent_messages(spot: Spot) -> set[str]:
    """Return the names of the messages that a journey may send."""
    found: set[str] = set()
    for step in spot["steps"]:
        if "send" in step:
            found.add(step["send"]["message"].value)
        if "choose" in step:
            found |= {option["send"]["message"].value for option in step["choose"]["among"]}
    return found


def heard(world: World, journeys: Iterable[Spot]) -> tuple[Names, Names]:
    """Return what entry and latest may hold in any of these journeys."""
    several = list(journeys)
    if not several:
        return Names(open=True), Names(open=True)
    return (
        union(world.properties(written_types(spot, entry_only=True)) for spot in several),
        union(world.properties(written_types(spot)) for spot in several),
    )


def compile_journey(
    spot: Spot, version: str, policy: Policy, messages: dict[str, Message], world: World
) -> Journey:
    """Return the compiled journey; ``version`` is the hash of its definition."""
    entry_types = written_types(spot, entry_only=True)
    latest_types = written_types(spot)
    place = Place(
        world,
        world.place(
            profile=world.profile,
            entry=world.properties(entry_types) if entry_types or world.lenient else None,
            latest=world.properties(latest_types) if latest_types or world.lenient else None,
            steps=step_ids(spot),
            missing={
                "event": _EVENT,
                "entry": "no event starts this journey",
                "latest": "no event starts or moves this journey",
            },
        ),
    )
    steps, edges = compile_steps(spot, place, policy, messages)
    journey = Journey(
        name=spot["journey"].value,
        version=version,
        entry=_entry(spot["entry"], world),
        goal=_goal(spot.get("goal"), place),
        exits=tuple(pattern_of(each, place) for each in spot.value.get("exit", ())),
        interrupts=tuple(pattern_of(each, place) for each in spot.value.get("interrupts", ())),
        in_flight=spot.plain("in_flight", "pin"),
        priority=spot.plain("priority", 50),
        value=world.number(spot.get("value"), place.plain),
        max_life=parse_duration(spot.plain("max_life", "P365D")),
        holdout=holdout_of(spot.get("holdout")),
        steps={step.id: step for step in steps},
        first=steps[0].id if steps else "",
    )
    check_graph(spot, journey, edges, world)
    return journey


def _entry(spot: Spot, world: World) -> EntryRule:
    on = world.types(spot.get("on"))
    missing = {
        "event": "this journey is entered without an event",
        "entry": "nothing has been entered yet; write event.NAME",
        "latest": "nothing has been entered yet; write event.NAME",
        "profile": "the key is a property of the event",
        "history": "the key is a property of the event",
    }
    event = world.properties(on) if on else None
    asking = world.place(profile=world.profile, event=event, missing=missing)
    quiet = world.place(profile=world.profile, missing=missing)
    absence = spot.get("absence")
    key: Expression | None = None
    if "key" in spot:
        key = world.expression(
            spot["key"],
            world.place(event=event, history=False, missing=missing),
            expect=("string", "long", "boolean"),
        )
    return EntryRule(
        on=on,
        when=world.condition(spot.get("when"), quiet, watched=True),
        absence_of=None if absence is None else world.event_type(absence["of"]),
        absence_for=None if absence is None else parse_duration(absence["for"].value),
        condition=world.condition(spot.get("if"), asking),
        key=key,
        re_entry=again_of(spot.plain("re_entry", "never")),
        existing=spot.plain("existing", False),
    )


def _goal(spot: Spot | None, place: Place) -> Goal | None:
    if spot is None:
        return None
    pattern = pattern_of(spot, place)
    return Goal(
        pattern=pattern,
        within=duration_of(spot.get("within")),
        value=place.world.number(spot.get("value"), place.hearing(pattern.on)),
    )
