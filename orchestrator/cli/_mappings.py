"""Mappings as verbs take them: those of a workspace, or single files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orchestrator.journeys import Workspace
    from orchestrator.sources.identities import IdentityKinds
    from orchestrator.sources.mappings import Mapper

F = TypeVar("F", bound="Callable[..., Any]")


def mapping_options(verb: F) -> F:
    """Add ``--mapping FILE`` (several) and ``--data DIR`` to a verb."""
    data = click.option(
        "--data",
        "folder",
        metavar="DIR",
        default=".",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Where the file patterns and lookups of mappings begin; else the current folder.",
    )
    mapping = click.option(
        "--mapping",
        "mappings",
        metavar="FILE",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A mapping of files (sources/NAME.yaml); on the log clock several are merged by time.",
    )
    return mapping(data(verb))


def mappers_of(files: Sequence[Path]) -> list[Mapper]:
    """Return single mappings, compiled.

    Raises:
        WorkspaceError: One does not compile.
        UsageError: One is of no files.
    """
    from orchestrator.errors import UsageError, WorkspaceError
    from orchestrator.journeys import check_source_file
    from orchestrator.sources.mappings import Mapper

    found = []
    for file in files:
        definition, _, diagnostics = check_source_file(file)
        if definition is None:
            raise WorkspaceError([str(each) for each in diagnostics])
        mapper = Mapper(definition.source)
        if not mapper.files:
            raise UsageError(f"{file}: this mapping is of no files; it has no `files:`")
        found.append(mapper)
    return found


def file_mappers(workspace: Workspace, folder: Path) -> list[Mapper]:
    """Return the mappings of files in a workspace.

    Raises:
        UsageError: There are none.
    """
    from orchestrator.errors import UsageError
    from orchestrator.sources.mappings import Mapper

    sources = [Mapper(each.source) for each in workspace.definitions if each.kind == "source"]
    found = [mapper for mapper in sources if mapper.files]
    if not found:
        raise UsageError(
            f"{folder} has no mapping of files: name files, or write sources/NAME.yaml"
        )
    return found


def kinds_of(workspace: Workspace) -> IdentityKinds:
    """Return the identities that a workspace declares."""
    from orchestrator.sources.identities import IdentityKinds

    profiles = [each.source for each in workspace.definitions if each.kind == "profile"]
    return IdentityKinds.of_profile(profiles[0] if profiles else "{}")
