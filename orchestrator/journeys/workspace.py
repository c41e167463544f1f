"""A folder of definitions, loaded, checked and compiled; and the same from the definitions topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import WorkspaceError
from orchestrator.journeys.building import Parts, build
from orchestrator.journeys.canonical import (
    SINGLETONS,
    catalog_hash,
    definition_of,
    node_of_definition,
)
from orchestrator.journeys.checking import check
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.loader import decode, load
from orchestrator.journeys.nodes import Node
from orchestrator.journeys.scenario_checks import check_scenarios
from orchestrator.journeys.scenario_reader import read_scenarios
from orchestrator.journeys.spots import Spot, strip
from orchestrator.records import Definition, JourneyStatus
from orchestrator.stages.catalog import Catalog

_FOLDERS = {"sources": "source", "messages": "message", "journeys": "journey", "tests": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace that compiles; ``diagnostics`` are its warnings."""

    definitions: tuple[Definition, ...]
    catalog: Catalog
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings of a workspace in file order; ``workspace`` is None if one is an error."""

    diagnostics: tuple[Diagnostic, ...]
    workspace: Workspace | None


@dataclass(slots=True)
class _Reading:
    parts: Parts = field(default_factory=Parts)
    definitions: dict[str, Definition] = field(default_factory=dict)
    places: dict[str, Mark] = field(default_factory=dict)
    tests: list[Node] = field(default_factory=list)
    found: list[Diagnostic] = field(default_factory=list)


def workspace_files(folder: Path, *overlays: Path) -> dict[str, Path]:
    """Return the files of a workspace by their path in it, in the order of the language.

    A file of a later folder replaces that of the same path.
    """
    files: dict[str, Path] = {}
    for each in (folder, *overlays):
        found = [each / f"{name}.yaml" for name in ("events", "profile", "policy")]
        for sub in _FOLDERS:
            found.extend(sorted([*(each / sub).glob("*.yaml"), *(each / sub).glob("*.yml")]))
        files |= {path.relative_to(each).as_posix(): path for path in found if path.is_file()}
    order = ["events.yaml", "profile.yaml", "policy.yaml", *_FOLDERS]
    return dict(
        sorted(files.items(), key=lambda item: (order.index(item[0].split("/")[0]), item[0]))
    )


def check_workspace(folder: Path, *overlays: Path) -> Report:
    """Return everything that is to be said of a workspace, its tests included.

    Never raises for its contents.
    """
    return _check((folder, *overlays), tests=True)


def _check(folders: tuple[Path, ...], *, tests: bool) -> Report:
    files = workspace_files(*folders)
    reading = _Reading()
    for name, path in files.items():
        if tests or not name.startswith("tests/"):
            _read(name, path, reading)
    if "policy.yaml" not in files:
        reading.found.append(
            Diagnostic(
                Mark(str(folders[0] / "policy.yaml"), 1, 1),
                "missing-key",
                "a workspace needs policy.yaml",
                "write at least timezone: Europe/Berlin",
            )
        )
    definitions = dict(sorted(reading.definitions.items()))
    hash_ = catalog_hash({name: each.hash for name, each in definitions.items()}, {})
    earlier = {each.hash: each for each in definitions.values()}
    catalog, found = build(reading.parts, {}, hash_, earlier.get)
    sound = not any(not each.warning for each in [*reading.found, *found])
    found += _check_tests(reading, catalog, sound=sound)
    order = [str(path) for path in files.values()]
    diagnostics = tuple(
        sorted(
            [*reading.found, *found],
            key=lambda each: (
                order.index(each.mark.file) if each.mark.file in order else -1,
                each.mark.line,
                each.mark.column,
            ),
        )
    )
    if any(not each.warning for each in diagnostics):
        return Report(diagnostics=diagnostics, workspace=None)
    workspace = Workspace(
        definitions=tuple(definitions.values()), catalog=catalog, diagnostics=diagnostics
    )
    return Report(diagnostics=diagnostics, workspace=workspace)


def _check_tests(reading: _Reading, catalog: Catalog, *, sound: bool) -> list[Diagnostic]:
    """Check tests against what compiled; if something did not, only their form."""
    found: list[Diagnostic] = []
    for node in reading.tests:
        scenarios, findings = read_scenarios(node, catalog.identities.primary)
        found += findings
        if sound and not findings:
            found += check_scenarios(scenarios, catalog)
    return found


def _read(place: str, path: Path, reading: _Reading) -> None:
    """Read one file; ``place`` is its path within the workspace."""
    kind = _FOLDERS.get(place.split("/", maxsplit=1)[0], path.stem)
    if path.suffix == ".yml":
        mark = Mark(str(path), 1, 1)
        reading.found.append(
            Diagnostic(mark, "yaml-syntax", "this file is not read", "name it .yaml")
        )
        return
    text, found = decode(path.read_bytes(), str(path))
    reading.found.extend(found)
    node = None
    if text is not None:
        node, found = load(text, str(path))
        reading.found.extend(found)
    if kind == "test":
        reading.tests.extend([] if node is None else [node])
        return
    before = len(reading.found)
    spot = None if node is None else check(node, KINDS[kind], reading.found)
    if spot is None or (kind == "events" and len(reading.found) > before):
        # An event that was refused is still meant: nobody who names it is to blame.
        reading.parts.broken.add(f"{kind}/{path.stem}")
    if spot is not None:
        _keep(kind, spot, reading)


def _keep(kind: str, spot: Spot, reading: _Reading) -> None:
    word = kind if kind not in SINGLETONS else ""
    name = spot[word].value if word else kind
    key = f"{kind}/{name}"
    if key in reading.places:
        reading.found.append(
            Diagnostic(
                spot[word].mark,
                "duplicate-name",
                f"{kind} {name!r} is defined twice",
                f"the first is {reading.places[key]}",
            )
        )
        return
    reading.places[key] = spot[word].mark if word else spot.mark
    definition = definition_of(kind, name, strip(spot))
    reading.definitions[key] = definition
    _part(kind, name, spot, definition.hash, reading.parts)


def _part(kind: str, name: str, spot: Spot, hash_: str, parts: Parts) -> None:
    match kind:
        case "events":
            parts.events = spot
        case "profile":
            parts.profile = spot
        case "policy":
            parts.policy = spot
        case "message":
            parts.messages[name] = (spot, hash_)
        case "journey":
            parts.journeys[name] = (spot, hash_)
        case _:
            parts.sources[name] = spot


def check_source_file(
    path: Path,
) -> tuple[Definition | None, Definition | None, tuple[Diagnostic, ...]]:
    """Return one mapping, the profile beside it, and what is to be said of the mapping alone.

    In the ``sources`` folder of a workspace it is checked against events.yaml and profile.yaml; an
    error in any other file is not looked at. None: it does not compile; there is no profile.
    """
    folder = path.absolute().parent.parent
    reading = _Reading()
    for name in ("events.yaml", "profile.yaml"):
        if path.absolute().parent.name == "sources" and (folder / name).is_file():
            _read(name, folder / name, reading)
    if reading.parts.profile is None:
        reading.parts.broken.add("profile/profile")
    _read(f"sources/{path.name}", path, reading)
    found = [*reading.found, *build(reading.parts, {}, "", lambda _: None)[1]]
    own = tuple(each for each in found if each.mark.file == str(path))
    sources = [each for each in reading.definitions.values() if each.kind == "source"]
    refused = not sources or any(not each.warning for each in own)
    return None if refused else sources[0], reading.definitions.get("profile/profile"), own


def load_workspace(folder: Path, *overlays: Path) -> Workspace:
    """Return the compiled workspace; a file of a later folder replaces that of the same path.

    Tests are not looked at: what is broken there keeps nothing from running.

    Raises:
        WorkspaceError: It does not compile; carries every finding as text.
    """
    for each in (folder, *overlays):
        if not each.is_dir():
            raise WorkspaceError([f"{each} is no folder"])
    report = _check((folder, *overlays), tests=False)
    if report.workspace is None:
        raise WorkspaceError([str(each) for each in report.diagnostics])
    return report.workspace


def compile_catalog(
    definitions: Mapping[str, Definition],
    status: Mapping[str, JourneyStatus],
    find: Callable[[str], Definition | None],
) -> Catalog:
    """Return the catalog of checked definitions: this is how workers compile.

    Args:
        definitions: By ``kind/name``.
        status: By journey; a journey that is not named is live.
        find: Gives an earlier definition by its hash, for entries that are pinned to it. It may
            raise ``DefinitionMissing``; None = that version is gone for good.

    Raises:
        WorkspaceError: A definition does not compile (against the others).
    """
    parts = Parts()
    found: list[Diagnostic] = []
    for _key, definition in sorted(definitions.items()):
        spot = check(node_of_definition(definition), KINDS[definition.kind], found)
        if spot is None:
            parts.broken.add(f"{definition.kind}/{definition.name}")
        else:
            _part(definition.kind, definition.name, spot, definition.hash, parts)
    hash_ = catalog_hash({key: each.hash for key, each in definitions.items()}, status)
    catalog, more = build(parts, status, hash_, find)
    errors = [each for each in [*found, *more] if not each.warning]
    if errors:
        raise WorkspaceError([str(each) for each in errors])
    return catalog
