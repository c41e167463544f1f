"""The catalog in force, compiled for a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.records import Definition, JourneyStatus
    from orchestrator.settings import Settings
    from orchestrator.stages.catalog import Catalog


def catalog_in_force(
    settings: Settings,
) -> tuple[Catalog, Callable[[str], Definition | None]]:
    """Return the compiled catalog and what finds a definition by its hash.

    Raises:
        CouldNotRun: None was ever applied, or it does not compile here.
        UnavailableError: Kafka or the registry is away.
    """
    from orchestrator.codec import open_codec
    from orchestrator.errors import CouldNotRun, WorkspaceError
    from orchestrator.journeys import compile_catalog
    from orchestrator.kafka.definitions import read_definitions

    known = read_definitions(settings, open_codec(settings))
    if known.catalog is None:
        raise CouldNotRun("no catalog is in force yet: run `orchestrator journeys apply DIR`")
    live = {
        name: known.by_hash[hash_]
        for name, hash_ in known.catalog.definitions.items()
        if hash_ in known.by_hash
    }
    status = cast("Mapping[str, JourneyStatus]", known.catalog.status)
    try:
        return compile_catalog(live, status, known.by_hash.get), known.by_hash.get
    except WorkspaceError as error:
        raise CouldNotRun(f"the catalog in force does not compile here: {error}") from error
