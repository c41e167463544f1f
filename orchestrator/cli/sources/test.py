"""Show what a mapping makes of samples, offline; what it refuses, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.journeys import Diagnostic
    from orchestrator.sources.mappings.trial import Trial

_FINDINGS = 1


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--sample",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Records in the mapping's format (webhook, topic: JSON); else the files that it names.",
)
@click.option(
    "--data",
    "folder",
    metavar="DIR",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the mapping's file patterns and lookups begin; else the current folder.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME:VALUE",
    multiple=True,
    help="For a webhook or topic: a header that comes with every sample.",
)
@click.option("--key", metavar="TEXT", help="For a topic: the key of every sample.")
@click.option("--limit", default=20, show_default=True, help="Records that are tried; 0 = all.")
@output_option
@click.pass_obj
def command(
    session: Session,
    file: Path,
    sample: Path | None,
    folder: Path,
    headers: tuple[str, ...],
    key: str | None,
    limit: int,
) -> int:
    """Check the mapping in FILE and show what it makes of samples.

    Beside its workspace the mapping is checked against events.yaml and profile.yaml.

    \b
    orchestrator sources test sources/orders.yaml --sample orders-2026-03.csv
    orchestrator sources test sources/git.yaml --sample push.json --header x-github-event:push
    orchestrator sources test sources/crm.yaml --sample changes.ndjson --key '{"id": 7}'
    """  # noqa: D301 - click's mark for lines that stay lines
    from orchestrator.journeys import check_source_file
    from orchestrator.sources.identities import IdentityKinds
    from orchestrator.sources.mappings import Mapper
    from orchestrator.sources.mappings.trial import try_mapping

    definition, profile, diagnostics = check_source_file(file)
    trial: Trial | None = None
    if definition is not None:
        kinds = IdentityKinds.of_profile(profile.source) if profile else None
        mapper = Mapper(definition.source)
        trial = try_mapping(mapper, sample, folder, _pairs(headers), kinds, limit, key)
    errors = sum(not each.warning for each in diagnostics)
    found = bool(errors) or (trial is not None and bool(trial.refused))
    data = {
        "ok": not found,
        "diagnostics": [str(each) for each in diagnostics],
        **({} if trial is None else {"trial": trial}),
    }
    session.output.result(data, lambda console: _show(console, diagnostics, trial))
    return _FINDINGS if found else 0


def _pairs(headers: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"--header {header}: write NAME:VALUE")
        found[name.strip().lower()] = value.strip()
    return found


def _show(console: Console, diagnostics: tuple[Diagnostic, ...], trial: Trial | None) -> None:
    from orchestrator.expressions.instants import format_instant

    for each in diagnostics:
        console.print(str(each), markup=False)
    if trial is None:
        return
    for record in trial.records:
        place = f"{record.file} at {record.offset}"
        if record.cause:
            console.print(f"{place}: refused ({record.cause}): {record.message}", markup=False)
        elif not record.events:
            console.print(f"{place}: no event, no `if` holds", markup=False)
        for event, remark in zip(record.events, record.remarks, strict=True):
            who = ", ".join(f"{kind}:{value}" for kind, value in event.identities.items())
            at = format_instant(event.occurred_at)
            console.print(f"{place}: {event.type}  {at}  {who}  id {event.event_id}", markup=False)
            for name, value in event.properties.items():
                console.print(f"    {name} = {value!r}", markup=False)
            if remark:
                console.print(f"    {remark}", markup=False)
    console.print(
        f"{len(trial.records)} records: {trial.events} events, {trial.nothing} without one, "
        f"{trial.refused} refused",
        markup=False,
    )
