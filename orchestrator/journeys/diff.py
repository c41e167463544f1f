"""What applying a workspace would change: definitions, what begins, and where entries go. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from orchestrator.journeys.canonical import canonical_json
from orchestrator.records import Definition
from orchestrator.stages.catalog import DAY_MS, Catalog, Holdout, Journey
from orchestrator.stages.decide.following import next_surviving, same_step

ChangeKind = Literal["added", "changed", "removed"]
Parked = Mapping[tuple[str, str, str], int]
"""Live entries by journey, version and the step at which they stand."""

_NAMES = ("id", "name", "on", "when", "if")
"""What tells the items of a list apart, the first one that all of them have."""
_UNITS = ((DAY_MS, "D"), (3_600_000, "H"), (60_000, "M"), (1000, "S"))


class Difference(Struct, kw_only=True):
    """One place at which two sources differ; None = nothing stands there (the default holds)."""

    path: str
    before: str | None
    after: str | None


class Place(Struct, kw_only=True):
    """Entries of one version that stand at one step, and where each way would lead them."""

    step: str
    version: str
    entries: int
    pin: str
    follow: str


class Change(Struct, kw_only=True):
    """One definition that is new, changed or gone."""

    definition: str
    """``kind/name``."""
    change: ChangeKind
    differences: list[Difference] = []
    in_flight: str = ""
    """What its live entries do: pin or follow; empty for what is no journey."""
    parked: list[Place] = []


class Plan(Struct, kw_only=True):
    """All that applying would change."""

    changes: list[Change]
    begins: list[str]
    """Traits, counts and silences that nothing has asked for so far."""
    warnings: list[str]


def plan(
    before: Mapping[str, Definition],
    after: Mapping[str, Definition],
    old: Catalog,
    new: Catalog,
    parked: Parked,
) -> Plan:
    """Return what changes between two catalogs.

    Args:
        before: The definitions in force, by ``kind/name``.
        after: Those that would be.
        old: What ``before`` compiles to; it finds pinned versions too.
        new: What ``after`` compiles to.
        parked: Where the live entries stand.
    """
    changes = [
        _change(name, before.get(name), after.get(name), old, new, parked)
        for name in sorted({*before, *after}, key=_order)
        if _hash(before.get(name)) != _hash(after.get(name))
    ]
    return Plan(changes=changes, begins=begins(old, new), warnings=list(_warnings(old, new)))


def _order(name: str) -> tuple[int, str]:
    kinds = "journey message policy profile events source".split()
    return kinds.index(name.partition("/")[0]), name


def _hash(definition: Definition | None) -> str:
    return "" if definition is None else definition.hash


def _change(
    name: str,
    before: Definition | None,
    after: Definition | None,
    old: Catalog,
    new: Catalog,
    parked: Parked,
) -> Change:
    change: ChangeKind = "added" if before is None else "removed" if after is None else "changed"
    kind, _, word = name.partition("/")
    found = Change(definition=name, change=change)
    if before is not None and after is not None:
        found.differences = differences(json.loads(before.source), json.loads(after.source))
    if kind == "journey":
        live = new.journeys.get(word)
        found.in_flight = "" if live is None or before is None else live.in_flight
        found.parked = _places(word, live, old, new, parked)
    return found


# ---------------------------------------------------------------------------------- two sources


def differences(before: Any, after: Any) -> list[Difference]:
    """Return where two canonical sources differ, each place once, in the order of the source.

    Items of a list that have names (steps, caps, options) are compared by name.
    """
    return list(_differ("", before, after))


def _differ(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if canonical_json(before) == canonical_json(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _keys(path, before, after)
        return
    if isinstance(before, list) and isinstance(after, list):
        named, renamed = _named(before, after), _named(after, before)
        if named is not None and renamed is not None:
            yield from _keys(path, named, renamed)
            shared = [name for name in named if name in renamed]
            order = [name for name in renamed if name in named]
            if shared != order:
                yield Difference(
                    path=f"{path} (order)", before=", ".join(shared), after=", ".join(order)
                )
            return
    yield Difference(path=path, before=_text(before), after=_text(after))


def _keys(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys([*before, *after]):
        place = f"{path}.{key}" if path else key
        if key not in after:
            yield Difference(path=place, before=_text(before[key]), after=None)
        elif key not in before:
            yield Difference(path=place, before=None, after=_text(after[key]))
        else:
            yield from _differ(place, before[key], after[key])


def _named(items: list[Any], others: list[Any]) -> dict[str, Any] | None:
    """Return the items by the word that tells them apart here and there, or None."""
    for word in _NAMES:
        every = [*items, *others]
        if all(isinstance(item, dict) and word in item for item in every):
            found = {_text(item[word]): item for item in items}
            return found if len(found) == len(items) else None
    return None


def _text(value: Any) -> str:
    """Return a value as an author would write it in flow style."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_text(item) for item in value) + "]"
        case str():
            return value
        case _:
            return canonical_json(value)


# --------------------------------------------------------------------------- where entries stand


def _places(
    name: str, live: Journey | None, old: Catalog, new: Catalog, parked: Parked
) -> list[Place]:
    found: list[Place] = []
    for (journey, version, step), entries in sorted(parked.items()):
        if journey == name and (live is None or version != live.version):
            former = old.journey(journey, version)
            stopped = live is not None and new.status.get(name) == "stopped"
            found.append(
                Place(
                    step=step,
                    version=version,
                    entries=entries,
                    pin="ends: the journey is stopped" if stopped else _pinned(live, former),
                    follow=(
                        "ends: the journey is stopped"
                        if stopped
                        else _following(step, former, live)
                    ),
                )
            )
    order = {} if live is None else {step: number for number, step in enumerate(live.steps)}
    return sorted(found, key=lambda one: (order.get(one.step, len(order)), one.step, one.version))


def _pinned(live: Journey | None, former: Journey | None) -> str:
    if former is None:
        return "ends: its definition is gone"
    return "walks on to its end" if live is None else "stays on its version"


def _following(step: str, former: Journey | None, live: Journey | None) -> str:
    if live is None:
        return _pinned(live, former)
    same = same_step(live, step)
    if same is None:
        place = next_surviving(step, former, live)
        return "ends: nothing behind it is left" if place is None else f"moves to {place}"
    return "stays" if same.id == step else f"stays, now called {same.id}"


# ------------------------------------------------------------------------------- what begins now


def begins(old: Catalog, new: Catalog) -> list[str]:
    """Return what the profile begins to keep: earlier events are not in it until they are loaded."""
    found = [
        f"trait {name}"
        for name, trait in new.traits.items()
        if trait.kind not in ("plain", "expr") and trait != old.traits.get(name)
    ]
    found += [f"count({type_}, {_duration(ms)})" for type_, ms in sorted(new.counts - old.counts)]
    found += [f"last({type_})" for type_ in sorted(new.lasts - old.lasts)]
    silences = new.absences_by_event.keys() - old.absences_by_event.keys()
    return found + [f"silence of {type_}" for type_ in sorted(silences)]


def _duration(ms: int) -> str:
    """Return the shortest ISO 8601 text with one unit."""
    size, unit = next(each for each in _UNITS if ms % each[0] == 0)
    return f"P{ms // size}D" if unit == "D" else f"PT{ms // size}{unit}"


# -------------------------------------------------------------------------------------- warnings


def _warnings(old: Catalog, new: Catalog) -> Iterator[str]:
    yield from _grown("policy", old.policy.holdout, new.policy.holdout)
    for name, journey in sorted(new.journeys.items()):
        before = old.journeys.get(name)
        if before is not None:
            yield from _grown(f"journey/{name}", before.holdout, journey.holdout)
    for name in sorted(old.journeys.keys() - new.journeys.keys()):
        yield (
            f"journey/{name} is taken out: its entries walk on to their end; to end them now, run "
            f"`orchestrator journeys stop {name}` first"
        )


def _grown(place: str, before: Holdout | None, after: Holdout | None) -> Iterator[str]:
    if before is None or after is None or before.salt != after.salt or after.share <= before.share:
        return
    yield (
        f"{place}: the holdout grows from {before.share / 100:g} % to {after.share / 100:g} %, and "
        "nobody who has been drawn before becomes control: only customers to come are held out by "
        "the greater share; a new salt draws everybody anew"
    )
