"""events.yaml and profile.yaml: types of properties, traits in order of dependence, lifecycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from orchestrator.expressions import Environment, Expression, ExpressionError, Names, Type
from orchestrator.expressions.checker import flatten, longest
from orchestrator.expressions.durations import parse_duration
from orchestrator.expressions.parser import parse
from orchestrator.expressions.reads import conform
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    ListLiteral,
    Name,
    Select,
    Syntax,
    Unary,
)
from orchestrator.expressions.types import list_of
from orchestrator.journeys.arms import check_arms
from orchestrator.journeys.flapping import check_flapping
from orchestrator.journeys.spots import Spot, strip
from orchestrator.journeys.world import NUMBER, World, written_keys
from orchestrator.stages.catalog import (
    Identities,
    LifecycleRule,
    Trait,
    TraitKind,
    TraitType,
    ValueType,
)

_KINDS: tuple[TraitKind, ...] = (
    "last",
    "first",
    "min",
    "max",
    "count",
    "sum",
    "up",
    "set",
    "score",
    "expr",
)
_SOURCES = {"history": "a trait is a function of its events alone"}


def events_of(spot: Spot | None) -> Mapping[str, Mapping[str, ValueType]] | None:
    """Return the declared events, or None if there is no events.yaml."""
    return None if spot is None else cast("dict[str, dict[str, ValueType]]", strip(spot))


_SECTIONS = frozenset({"identities", "timezone", "traits", "lifecycle"})


@dataclass(slots=True, kw_only=True)
class Profile:
    """What profile.yaml compiles to."""

    identities: Identities = field(default_factory=Identities)
    timezone_trait: str | None = None
    traits: dict[str, Trait] = field(default_factory=dict)
    lifecycle: tuple[LifecycleRule, ...] = ()


def compile_profile(spot: Spot, world: World) -> Profile:
    """Return the compiled profile; ``world`` learns its names."""
    spots = dict(spot["traits"].items()) if "traits" in spot else {}
    stored = {name: each for name, each in spots.items() if "expr" not in each}
    traits = {name: _stored(name, each, world) for name, each in stored.items()}
    types: dict[str, Type] = {name: _read_type(trait) for name, trait in traits.items()}
    # A trait with a finding of its own is known all the same: one cause, one diagnostic.
    for name in written_keys(spot.get("traits")):
        types.setdefault(name, "any")
    world.timed = frozenset(name for name, trait in traits.items() if _timed(trait))
    for name in _in_order(spots, types, world):
        traits[name] = _derived(name, spots[name], types, world)
        types[name] = _read_type(traits[name])
    names = [each["name"] for each in spot["lifecycle"]] if "lifecycle" in spot else []
    if names:
        if "lifecycle" in types:
            world.report(
                spot["traits"].key_mark("lifecycle"),
                "duplicate-name",
                "profile.lifecycle is what the lifecycle rules give",
                "call the trait otherwise",
            )
        types["lifecycle"] = "string"
    # Where ``traits`` itself is misspelt, that is the finding; nothing is said of what stands below.
    lost = "traits" not in spot and not {*written_keys(spot)} <= _SECTIONS
    world.profile = Names(types, open=lost)
    world.settable = {name: trait.type for name, trait in traits.items() if trait.kind == "plain"}
    return Profile(
        identities=_identities(spot.get("identities"), world),
        timezone_trait=None if lost else _timezone(spot.get("timezone"), types, world),
        traits=dict(sorted(traits.items())),
        lifecycle=_lifecycle(spot.get("lifecycle"), world),
    )


def _identities(spot: Spot | None, world: World) -> Identities:
    if spot is None:
        return Identities()
    kinds = [spot["primary"], *spot.value.get("also", Spot([], spot.node))]
    seen: set[str] = set()
    for kind in kinds:
        if kind.value == "customer":
            world.report(
                kind.mark,
                "wrong-type",
                "the kind 'customer' is reserved for our own ids",
                "write customer_id",
            )
        if kind.value in seen:
            world.report(kind.mark, "duplicate-name", f"{kind.value!r} stands here twice")
        seen.add(kind.value)
    values = strip(spot)
    return Identities(
        primary=values["primary"],
        also=tuple(values.get("also", ())),
        block=frozenset(values.get("block", ())),
        join_limit=values.get("join_limit", 8),
        merge_known=values.get("merge_known", False),
    )


def _timezone(spot: Spot | None, types: Mapping[str, Type], world: World) -> str | None:
    if spot is None:
        return None
    name = str(spot.value).removeprefix("profile.")
    if name not in types:
        world.report(
            spot.mark, "unknown-trait", f"trait {name!r} is not declared", did_you_mean(name, types)
        )
    elif types[name] not in ("string", "any"):
        world.report(
            spot.mark, "type-error", f"trait {name!r} is a {types[name]}, a time zone is a string"
        )
    return name


# --------------------------------------------------------------------------------------- traits


def _timed(trait: Trait) -> bool:
    return trait.kind == "score" or trait.window_ms is not None


def _read_type(trait: Trait) -> Type:
    return list_of(trait.type) if trait.kind == "set" else trait.type


def _kind(spot: Spot) -> TraitKind:
    return next((kind for kind in _KINDS if kind in spot), "plain")


def _stored(name: str, spot: Spot, world: World) -> Trait:
    kind = _kind(spot)
    if kind == "plain":
        return _plain(name, spot, world)
    if kind == "score":
        return Trait(
            name=name,
            kind="score",
            type="double",
            on=tuple(world.event_type(key) for key in spot["score"].words()),
            scores={type_: float(points) for type_, points in sorted(strip(spot["score"]).items())},
            half_life_ms=_ms(spot["half_life"]),
        )
    if kind == "up":
        up, down = world.event_type(spot["up"]), world.event_type(spot["down"])
        place = _event_place(world, (up, down))
        by = world.expression(spot["by"], place) if "by" in spot else None
        return Trait(name=name, kind="up", type="long", on=(up,), down=down, by=by)
    on = world.types(spot[kind])
    place = _event_place(world, on)
    take = world.expression(spot["take"], place, expect=_expected(kind)) if "take" in spot else None
    return Trait(
        name=name,
        kind=kind,
        type=_type(kind, take, spot, world),
        on=on,
        take=take,
        condition=world.condition(spot.get("if"), place),
        window_ms=_ms(spot["window"]) if "window" in spot else None,
        limit=spot.plain("limit", 64),
    )


def _ms(spot: Spot) -> int:
    return parse_duration(spot.value).milliseconds()


def _event_place(world: World, types: tuple[str, ...]) -> Environment:
    return world.place(
        event=world.properties(types),
        history=False,
        missing={
            "profile": "a trait is a function of its events alone; combine traits with expr:",
            "entry": "this is no journey",
            "latest": "this is no journey",
            **_SOURCES,
        },
    )


def _expected(kind: TraitKind) -> tuple[Type, ...]:
    if kind == "sum":
        return NUMBER
    if kind in ("min", "max"):
        return ("long", "double", "string", "timestamp")
    return ("string", "boolean", "long", "double", "timestamp")


def _type(kind: TraitKind, take: Expression | None, spot: Spot, world: World) -> TraitType:
    if kind == "count":
        return "long"
    given = cast("TraitType | None", spot.plain("type"))
    taken: Type = "timestamp" if take is None else take.type
    if kind == "sum":
        return "long" if taken == "long" else "double"
    if given is None:
        return cast("TraitType", "any" if taken == "null" else taken)
    if taken not in (given, "any", "null") and (taken, given) not in (
        ("long", "double"),
        ("string", "timestamp"),
        ("long", "timestamp"),
    ):
        world.report(spot["type"].mark, "type-error", f"what is taken is a {taken}, not a {given}")
    return given


def _plain(name: str, spot: Spot, world: World) -> Trait:
    type_ = cast("ValueType", spot.plain("type"))
    default = spot.plain("default")
    fitted = conform(default, type_)
    if default is not None and fitted is None:
        world.report(spot["default"].mark, "wrong-type", f"the default of a {type_} is a {type_}")
    return Trait(name=name, kind="plain", type=type_, default=cast("Any", fitted))


# -------------------------------------------------------------------------------------- derived


def _in_order(spots: Mapping[str, Spot], types: Mapping[str, Type], world: World) -> list[str]:
    """Return the derived traits, each behind those that it reads; a cycle is reported."""
    derived = {name: spot["expr"] for name, spot in spots.items() if "expr" in spot}
    reads = {name: _traits_of(spot.value, types) & derived.keys() for name, spot in derived.items()}
    ordered: list[str] = []
    while rest := [name for name in reads if name not in ordered]:
        ready = [name for name in rest if reads[name] <= set(ordered)]
        if not ready:
            circle = _circle(rest[0], reads, set(ordered))
            world.report(
                derived[circle[0]].mark,
                "bad-expression",
                f"traits read each other in a circle: {' -> '.join([*circle, circle[0]])}",
            )
            ready = circle
        ordered.extend(ready)
    return ordered


def _circle(start: str, reads: Mapping[str, set[str]], done: set[str]) -> list[str]:
    path = [start]
    while True:
        following = min(reads[path[-1]] - done)
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _traits_of(text: str, types: Mapping[str, Type]) -> set[str]:
    try:
        stack = [parse(text)]
    except ExpressionError:
        return set()
    found: set[str] = set()
    names = Names(types)
    while stack:
        node = stack.pop()
        path = flatten(node) if isinstance(node, Select) else None
        if path is not None and path[0] == "profile":
            found.add(".".join(path[1 : 1 + longest(path[1:], names)]))
            continue
        stack.extend(_operands(node))
    return found


def _operands(node: Syntax) -> list[Syntax]:  # noqa: PLR0911 - one case for each kind of node
    match node:
        case Binary(left=left, right=right):
            return [left, right]
        case Unary(operand=operand):
            return [operand]
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return [condition, then, otherwise]
        case Call(receiver=receiver, arguments=arguments):
            return [*arguments] if receiver is None else [receiver, *arguments]
        case ListLiteral(items=items):
            return [*items]
        case Select(of=of) if not isinstance(of, Name):
            return [of]
        case _:
            return []


def _derived(name: str, spot: Spot, types: Mapping[str, Type], world: World) -> Trait:
    others = {other: type_ for other, type_ in types.items() if other != name}
    place = world.place(
        profile=Names(others),
        missing={
            "event": "a derived trait reads other traits",
            "entry": "this is no journey",
            "latest": "this is no journey",
        },
    )
    expression = world.expression(spot["expr"], place)
    type_ = cast("TraitType", spot.plain("type", expression.type))
    fits = type_ in (expression.type, "any") or expression.type in ("any", "null")
    if not fits and (expression.type, type_) != ("long", "double"):
        world.report(
            spot["type"].mark,
            "type-error",
            f"the expression is a {expression.type}, not a {type_}",
        )
    world.derived[name] = expression
    if str(type_).startswith("list(") or type_ == cast("TraitType", "null"):
        type_ = "any"
    return Trait(name=name, kind="expr", type=type_, expression=expression)


# ------------------------------------------------------------------------------------ lifecycle


def _lifecycle(spot: Spot | None, world: World) -> tuple[LifecycleRule, ...]:
    if spot is None:
        return ()
    place = world.place(
        profile=world.profile,
        missing={
            "event": "lifecycle reads the profile",
            "entry": "this is no journey",
            "latest": "this is no journey",
        },
    )
    rules: list[LifecycleRule] = []
    seen: set[str] = set()
    for each in spot:
        name = each["name"]
        if name.value in seen:
            world.report(name.mark, "duplicate-name", f"lifecycle {name.value!r} stands here twice")
        seen.add(name.value)
        rules.append(
            LifecycleRule(
                name=name.value, condition=world.condition(each.get("if"), place, watched=True)
            )
        )
    check_arms(spot, [rule.condition for rule in rules], world)
    check_flapping(spot, rules, world)
    return tuple(rules)
