"""sources/*.yaml: every expression, name and type of a mapping, checked against the workspace.

The connectors compile mappings anew, from the canonical JSON that passed here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from orchestrator.expressions import Environment, Expression, Type
from orchestrator.expressions.records import RESERVED, mapping_environment
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World

CUSTOMER: Final = "customer"
_FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "topic": ("avro", "json", "cloudevents", "debezium"),
    "webhook": ("json",),
    "files": ("csv", "ndjson", "json", "parquet", "avro"),
}
_SCALARS: tuple[Type, ...] = ("string", "long", "double", "boolean", "timestamp")
_IDENTIFIERS: tuple[Type, ...] = ("string", "long")
_INSTANTS: tuple[Type, ...] = ("timestamp", "string", "long")
_FITTING: Final[Mapping[Type, tuple[Type, ...]]] = {
    "double": ("double", "long"),
    "timestamp": ("timestamp", "long", "string"),
}
"""What a declared property takes beside its own type."""
_CONVERSIONS: Final = frozenset({"string", "long", "double", "timestamp"})


def check_source(spot: Spot, kinds: Collection[str] | None, world: World) -> None:
    """Report what is wrong with a mapping whose form is sound.

    Args:
        spot: Its checked source.
        kinds: The identities that profile.yaml declares; None = not known, so not checked.
        world: Names, and where findings go.
    """
    head = next(word for word in ("topic", "webhook", "file", "files") if word in spot)
    head = "files" if head == "file" else head
    format_ = _format(spot, head, world)
    lookups = _lookups(spot, world, texts=format_ == "csv")
    grouped = "group_by" in spot
    place = mapping_environment(
        lookups,
        texts=format_ == "csv",
        header=head in {"webhook", "topic"},
        grouped=grouped,
        topic=head == "topic",
        changes=format_ == "debezium",
    )
    single = mapping_environment(lookups, texts=format_ == "csv")
    for key in spot.get("group_by") or ():
        world.expression(key, single, expect=_SCALARS)
    if grouped and format_ == "json":
        world.report(
            spot.key_mark("group_by"),
            "wrong-format",
            "group_by goes with lines, and json is one document",
            "use csv or ndjson",
        )
    for event in spot["events"]:
        _event(event, head, kinds, place, world)


def _format(spot: Spot, head: str, world: World) -> str:
    allowed = _FORMATS[head]
    given = spot.get("format")
    if given is None:
        if head == "files":
            world.report(
                spot.mark, "missing-key", "files need a format", f"add one of {', '.join(allowed)}"
            )
        return allowed[0]
    if given.value not in allowed:
        world.report(
            given.mark,
            "wrong-format",
            f"{given.value} does not go with {head}",
            f"known: {', '.join(allowed)}",
        )
    if given.value != "csv" and "delimiter" in spot:
        world.report(
            spot.key_mark("delimiter"),
            "wrong-format",
            f"{given.value} has no delimiter",
            "leave it out, or write format: csv",
        )
    return str(given.value)


def _lookups(spot: Spot, world: World, *, texts: bool) -> list[str]:
    declared = spot.get("lookup")
    if declared is None:
        return []
    place = mapping_environment(texts=texts)
    for word in declared.words():
        if word.value in RESERVED:
            world.report(
                word.mark,
                "duplicate-name",
                f"{word.value!r} has a meaning of its own",
                "give the lookup another name",
            )
        world.expression(declared[word.value]["on"], place, expect=_IDENTIFIERS)
    return [str(word.value) for word in declared.words()]


def _event(
    spot: Spot, head: str, kinds: Collection[str] | None, place: Environment, world: World
) -> None:
    world.condition(spot.get("if"), place)
    world.event_type(spot["type"])
    if (id_ := spot.get("id")) is not None:
        world.expression(id_, place, expect=_IDENTIFIERS)
    at = spot.get("occurred_at")
    if at is not None:
        world.expression(at, place, expect=_INSTANTS)
    elif head == "files":
        world.report(
            spot.mark,
            "missing-key",
            "'occurred_at' is missing: a file does not say when it happened",
            "write occurred_at: record.COLUMN",
        )
    identities = spot["identities"]
    for word in identities.words():
        _kind(word, kinds, world)
        world.expression(identities[word.value], place, expect=_IDENTIFIERS)
    _properties(spot, place, world)


def _kind(word: Spot, kinds: Collection[str] | None, world: World) -> None:
    if kinds is None or word.value in kinds or word.value == CUSTOMER:
        return
    world.report(
        word.mark,
        "unknown-identity",
        f"profile.yaml declares no identity {word.value!r}",
        did_you_mean(word.value, kinds),
    )


def _properties(spot: Spot, place: Environment, world: World) -> None:
    properties = spot.get("properties")
    if properties is None:
        return
    type_ = spot["type"].value
    known = world.event_types is None or type_ in world.event_types
    names = world.properties([type_]) if known else None
    for word in properties.words():
        compiled = world.expression(properties[word.value], place)
        if names is None:
            continue
        wanted = names.types.get(word.value)
        if wanted is not None:
            _fits(type_, word, properties[word.value], compiled, wanted, world)
        elif not names.open and not _nested(word.value, names.types):
            world.report(
                word.mark,
                "unknown-property",
                f"events.yaml declares no property {word.value!r} of {type_}",
                did_you_mean(word.value, names.types),
            )


def _nested(name: str, declared: Collection[str]) -> bool:
    """Whether an object may stand here: its fields become dotted properties."""
    return any(other.startswith(f"{name}.") for other in declared)


def _fits(
    type_: str, word: Spot, spot: Spot, compiled: Expression, wanted: Type, world: World
) -> None:
    given = compiled.type
    if given in (wanted, "any", "null") or given in _FITTING.get(wanted, ()):
        return
    world.report(
        spot.mark,
        "type-error",
        f"{word.value} of {type_} is a {wanted}, and this is a {given}",
        f"write {wanted}({compiled.text})" if wanted in _CONVERSIONS else _truth(compiled),
    )


def _truth(compiled: Expression) -> str:
    return f'write {compiled.text} == "true"' if compiled.type == "string" else ""
