"""Checked sources to a catalog; the one way for YAML files and for definitions from the topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.expressions import Names
from orchestrator.journeys.canonical import node_of_definition
from orchestrator.journeys.checking import check
from orchestrator.journeys.compile_journey import compile_journey, heard, sent_messages
from orchestrator.journeys.compile_message import compile_message
from orchestrator.journeys.compile_policy import compile_policy, learn_policy
from orchestrator.journeys.compile_profile import Profile, compile_profile, events_of
from orchestrator.journeys.compile_source import check_source
from orchestrator.journeys.diagnostics import Diagnostic
from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.spots import Spot
from orchestrator.journeys.world import World
from orchestrator.records import Definition, JourneyStatus
from orchestrator.stages.catalog import Catalog, Journey, Message, Policy

Find = Callable[[str], Definition | None]


@dataclass(slots=True, kw_only=True)
class Parts:
    """The sound sources of a workspace, each with its hash.

    ``broken`` names what is there but unsound (``kind/name``), so that nothing else is blamed.
    """

    events: Spot | None = None
    profile: Spot | None = None
    policy: Spot | None = None
    messages: dict[str, tuple[Spot, str]] = field(default_factory=dict)
    journeys: dict[str, tuple[Spot, str]] = field(default_factory=dict)
    sources: dict[str, Spot] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


def build(
    parts: Parts, status: Mapping[str, JourneyStatus], hash_: str, find: Find
) -> tuple[Catalog, list[Diagnostic]]:
    """Return the catalog and the findings; with an error among them the catalog is of no use."""
    world = World()
    declared = None if "events/events" in parts.broken else events_of(parts.events)
    if declared is not None:
        world.events = {name: Names(dict(types)) for name, types in declared.items()}
    profile = Profile()
    if parts.profile is not None:
        profile = compile_profile(parts.profile, world)
    elif "profile/profile" not in parts.broken:
        world.profile, world.settable = Names(), {}
    world.messages = {*parts.messages, *_names(parts.broken, "message")}
    if parts.policy is not None:
        learn_policy(parts.policy, world)
    used = {spot["category"].value for spot, _ in parts.messages.values()}
    declared_categories, every = world.categories, world.categories
    if world.categories is not None:
        every = {*world.categories, *used}
    world.categories = every
    policy = Policy() if parts.policy is None else compile_policy(parts.policy, world)
    messages = _messages(parts, policy, world, declared_categories)
    world.categories = every
    journeys = {
        name: compile_journey(spot, version, policy, messages, world)
        for name, (spot, version) in sorted(parts.journeys.items())
    }
    _check_sources(parts, profile, world)
    catalog = _catalog(world, profile, policy, messages, journeys, status, hash_, declared)
    object.__setattr__(catalog, "pinned", Pinned(world.past(), policy, messages, find))
    return catalog, world.found


def _check_sources(parts: Parts, profile: Profile, world: World) -> None:
    identities = profile.identities
    kinds = (identities.primary, *identities.also)
    known = kinds if "profile/profile" not in parts.broken else None
    for _, spot in sorted(parts.sources.items()):
        check_source(spot, known, world)


def _names(broken: set[str], kind: str) -> set[str]:
    return {name.removeprefix(f"{kind}/") for name in broken if name.startswith(f"{kind}/")}


def _messages(parts: Parts, policy: Policy, world: World, declared: object) -> dict[str, Message]:
    senders = [(spot, sent_messages(spot)) for spot, _ in parts.journeys.values()]
    messages: dict[str, Message] = {}
    for name, (spot, hash_) in sorted(parts.messages.items()):
        heard_by = heard(world, [journey for journey, sent in senders if name in sent])
        strict = world.categories
        world.categories = declared or strict  # type: ignore[assignment]
        messages[name] = compile_message(spot, hash_, heard_by, policy.channels, world)
        world.categories = strict
    return messages


@dataclass(slots=True)
class Pinned:
    """Earlier versions of journeys, compiled beside today's profile, policy and messages.

    What they read and is no longer declared is null; what is gone for good is None.
    """

    world: World
    policy: Policy
    messages: dict[str, Message]
    find: Find
    compiled: dict[str, Journey | None] = field(default_factory=dict)

    def __call__(self, name: str, version: str) -> Journey | None:
        """Return a version of a journey by its hash.

        Raises:
            DefinitionMissing: If ``find`` says that it has not arrived yet.
        """
        if version in self.compiled:
            return self.compiled[version]
        definition = self.find(version)
        if definition is None:
            return None
        journey = None
        if definition.kind == "journey" and definition.name == name:
            spot = check(node_of_definition(definition), KINDS["journey"], [])
            if spot is not None:
                journey = compile_journey(spot, version, self.policy, self.messages, self.world)
        self.compiled[version] = journey
        return journey


def _catalog(
    world: World,
    profile: Profile,
    policy: Policy,
    messages: dict[str, Message],
    journeys: dict[str, Journey],
    status: Mapping[str, JourneyStatus],
    hash_: str,
    declared: object,
) -> Catalog:
    open_ = [
        journey
        for name, journey in journeys.items()
        if status.get(name, "live") in ("live", "paused")
    ]
    entries: dict[str, list[str]] = {}
    absences: dict[str, list[str]] = {}
    for journey in journeys.values():
        for type_ in journey.entry.on:  # whatever its status: it says why it takes nobody in
            entries.setdefault(type_, []).append(journey.name)
    for journey in open_:
        if journey.entry.absence_of is not None:
            absences.setdefault(journey.entry.absence_of, []).append(journey.name)
    feeds: dict[str, list[str]] = {}
    for trait_ in profile.traits.values():
        for type_ in dict.fromkeys([*trait_.on, *([trait_.down] if trait_.down else [])]):
            feeds.setdefault(type_, []).append(trait_.name)
    return Catalog(
        hash=hash_,
        identities=profile.identities,
        events=declared,  # type: ignore[arg-type]
        timezone_trait=profile.timezone_trait,
        traits=profile.traits,
        lifecycle=profile.lifecycle,
        policy=policy,
        messages=messages,
        journeys=journeys,
        status={name: status.get(name, "live") for name in journeys},
        counts=frozenset().union(*(each.references.counts for each in world.expressions)),
        lasts=frozenset().union(*(each.references.lasts for each in world.expressions)),
        entries_by_event=_frozen(entries),
        entries_when=tuple(journey.name for journey in open_ if journey.entry.when is not None),
        absences_by_event=_frozen(absences),
        traits_by_event=_frozen(feeds),
    )


def _frozen(index: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(sorted(names)) for key, names in sorted(index.items())}
