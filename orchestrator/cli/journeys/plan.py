"""Compare a workspace with the catalog in force: what applying it would change, and for whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import FINDINGS
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.journeys import Workspace
    from orchestrator.journeys.diff import Change, Plan
    from orchestrator.kafka.definitions import Definitions
    from orchestrator.settings import Settings

_COLOURS = {"added": "green", "changed": "yellow", "removed": "red"}


@click.command(epilog="Example: orchestrator journeys plan deploy/example")
@click.argument("folders", nargs=-1, metavar="[DIR [OVERLAY...]]", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def command(session: Session, folders: tuple[Path, ...]) -> int:
    """Show what `apply` of the workspace in DIR (default: the current folder) would change.

    Exit code 1 if anything differs. For every journey that changes: how many entries stand at which
    step, and where each would go, pinned or following. They are counted in the customers'
    changelog, as `journeys status` does.
    """
    from orchestrator.journeys import load_workspace

    workspace = load_workspace(*(folders or (Path(),)))
    for diagnostic in workspace.diagnostics:
        session.output.remarks.print(str(diagnostic), markup=False)
    identity, found = plan(session.settings, workspace)
    session.output.result(
        {"changed": bool(found.changes), "in_force": identity, **_data(found)},
        lambda console: _show(console, session, identity, found),
    )
    return FINDINGS if found.changes else 0


def plan(settings: Settings, workspace: Workspace) -> tuple[str, Plan]:
    """Return the catalog in force (empty: none yet) and what ``workspace`` would change in it.

    Raises:
        UnavailableError: Kafka or the registry is away.
        WorkspaceError: The catalog in force does not compile any more.
    """
    from orchestrator.codec import open_codec
    from orchestrator.journeys import diff
    from orchestrator.kafka.definitions import read_definitions

    known = read_definitions(settings, open_codec(settings))
    before = _in_force(known)
    after = {f"{one.kind}/{one.name}": one for one in workspace.definitions}
    old = _compiled(before, known)
    new = _compiled(after, known)
    parked: Counter[tuple[str, str, str]] = Counter()
    if any(name.startswith("journey/") and after.get(name) != before[name] for name in before):
        from orchestrator.cli.journeys._deployed import parked as count
        from orchestrator.cli.journeys._deployed import read_customers

        for part in read_customers(settings, count):
            parked.update(part)
    identity = known.catalog.catalog if known.catalog else ""
    return identity, diff.plan(before, after, old, new, parked)


def _in_force(known: Definitions) -> dict[str, Any]:
    from orchestrator.errors import DefinitionMissing

    if known.catalog is None:
        return {}
    missing = sorted(set(known.catalog.definitions.values()) - known.by_hash.keys())
    if missing:
        raise DefinitionMissing(
            f"the catalog in force names what the definitions topic has lost: {', '.join(missing)}; "
            "apply the workspace that it came from again"
        )
    return {name: known.by_hash[hash_] for name, hash_ in known.catalog.definitions.items()}


def _compiled(definitions: dict[str, Any], known: Definitions) -> Any:
    from orchestrator.journeys import compile_catalog

    given: Any = known.catalog.status if known.catalog else {}
    status = {name: word for name, word in given.items() if f"journey/{name}" in definitions}
    return compile_catalog(definitions, status, known.by_hash.get)


def _data(found: Plan) -> Any:
    import msgspec

    return msgspec.to_builtins(found)


def _show(console: Console, session: Session, identity: str, found: Plan) -> None:
    if not found.changes:
        console.print(f"Nothing to do: catalog {identity[:12]} is in force.", markup=False)
        return
    console.print(
        f"compared with catalog {identity[:12]}" if identity else "no catalog is in force yet",
        markup=False,
    )
    for change in found.changes:
        console.print(
            f"{change.change:>8}  {change.definition}", style=_COLOURS[change.change], markup=False
        )
        for one in change.differences:
            console.print(f"          {_line(one.path, one.before, one.after)}", markup=False)
        _show_parked(session, change)
    if found.begins:
        console.print(
            "\nbegins when it is applied; `orchestrator load --backfill` fills in what was before:",
            markup=False,
        )
        for word in found.begins:
            console.print(f"          {word}", markup=False)
    for warning in found.warnings:
        console.print(f"\nwarning: {warning}", style="yellow", markup=False)


def _line(path: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {path}: {after}"
    if after is None:
        return f"- {path}: {before}"
    return f"~ {path}: {before} -> {after}"


def _show_parked(session: Session, change: Change) -> None:
    if not change.parked:
        return
    chosen = {word: f"{word} (chosen)" for word in ("pin", "follow") if word == change.in_flight}
    columns = ("parked at", "version", "entries", *(chosen.get(w, w) for w in ("pin", "follow")))
    rows = [(p.step, p.version[:12], p.entries, p.pin, p.follow) for p in change.parked]
    session.output.table("", columns, rows)
