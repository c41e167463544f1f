"""A folder of definitions, loaded, checked and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.journeys.diagnostics import Diagnostic
from orchestrator.records import Definition, JourneyStatus
from orchestrator.stages.catalog import Catalog


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


def check_workspace(folder: Path, *overlays: Path) -> Report:
    """Return everything that is to be said of a workspace; never raises for its contents."""
    raise NotImplementedError


def load_workspace(folder: Path, *overlays: Path) -> Workspace:
    """Return the compiled workspace; a file of a later folder replaces that of the same name.

    Raises:
        WorkspaceError: It does not compile; carries every finding as text.
    """
    raise NotImplementedError


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
    raise NotImplementedError


def catalog_hash(definitions: Mapping[str, str], status: Mapping[str, JourneyStatus]) -> str:
    """Return the identity of a catalog: hashes by ``kind/name``, and every status but live."""
    raise NotImplementedError
