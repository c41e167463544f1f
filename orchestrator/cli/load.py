"""Load files: events as they are, or CSV, NDJSON, Parquet, Avro through mappings; gzipped texts too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli._mappings import mapping_options
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from orchestrator.cli.session import Session
    from orchestrator.journeys import Workspace
    from orchestrator.sources.inputs import Input

FINDINGS = 1
PHASES = {
    "sort": "sorting by time",
    "load": "loading",
    "wait": "waiting until the worker has read it",
}

FOREIGN = frozenset({".parquet", ".avro", ".csv"})
"""Files that are never canonical events: each line of them would become a dead letter."""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", help="For FILES without --mapping: source of lines that name none.")
@mapping_options
@click.option("--backfill", is_flag=True, help="History: sets traits, starts nothing.")
@click.option("--clock", type=click.Choice(["broker", "log"]), help="Overrides clock.mode.")
@click.option("--again", is_flag=True, help="Also files that were loaded to their end before.")
@click.option("--until", help="On the log clock: let time run on to this instant (ISO 8601).")
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take identities, and without FILES and --mapping all mappings of files, from here.",
)
@output_option
@click.pass_obj
def command(
    session: Session,
    files: tuple[Path, ...],
    source: str | None,
    mappings: tuple[Path, ...],
    folder: Path,
    clock: str | None,
    until: str | None,
    workspace: Path | None,
    *,
    backfill: bool,
    again: bool,
) -> int:
    """Load FILES of canonical events, one JSON object a line; continues where it was stopped.

    With --mapping the files are other people's (`format:` csv, ndjson, json, parquet, avro): those
    that the mapping names, or FILES. With --clock log all events are sent in the order of their
    time, the time being the log's.

    \b
    orchestrator load events.ndjson.gz --source shop
    orchestrator load --mapping sources/orders.yaml --data exports/
    orchestrator load --mapping sources/history.yaml --backfill 2025.parquet
    orchestrator load --workspace journeys/ --clock log

    Exit code 1 says that some records became dead letters; all others are loaded.
    """  # noqa: D301 - click's mark for lines that stay lines
    from orchestrator.cli._mappings import kinds_of
    from orchestrator.codec import open_codec
    from orchestrator.errors import InputError, UsageError
    from orchestrator.journeys import load_workspace
    from orchestrator.sources.load import Loader, applied_kinds, prepare
    from orchestrator.sources.mapping import instant

    session.set("clock.mode", clock)
    settings = session.settings
    if until and settings.clock.mode != "log":
        raise UsageError("--until goes with --clock log: elsewhere the broker's clock runs")
    try:
        end = instant(until)
    except InputError as error:
        raise UsageError(f"--until: {error}") from error
    loaded = load_workspace(workspace) if workspace else None
    inputs = _inputs(files, source, mappings, folder, loaded, workspace)
    codec = open_codec(settings)
    prepare(settings, codec)
    kinds = kinds_of(loaded) if loaded else applied_kinds(settings, codec)
    progress = LoadProgress(session.output.remarks)
    loader = Loader(settings, codec, kinds, progress, backfill=backfill)
    try:
        summary = loader.run(inputs, again=again, until=end)
    finally:
        progress.close()

    def show(console: Console) -> None:
        text = f"{summary.accepted} events loaded"
        if summary.refused:
            text += f", {summary.refused} records to dead letters (orchestrator dlq list)"
        console.print(text)

    session.output.result(summary, show)
    return FINDINGS if summary.refused else 0


def _inputs(
    files: tuple[Path, ...],
    source: str | None,
    mappings: tuple[Path, ...],
    folder: Path,
    loaded: Workspace | None,
    workspace: Path | None,
) -> list[Input]:
    from orchestrator.cli._mappings import file_mappers, mappers_of
    from orchestrator.errors import UsageError
    from orchestrator.sources.inputs import CanonicalFile
    from orchestrator.sources.mappings.files import open_files

    if files and not mappings:
        if source is None:
            raise UsageError("name the source of these files with --source, or their --mapping")
        for file in files:
            if file.suffix in FOREIGN:
                raise UsageError(f"{file} is no NDJSON of canonical events; name its --mapping")
        return [CanonicalFile(file, source) for file in files]
    if source is not None:
        raise UsageError("--source goes with files of canonical events; a mapping names its own")
    if mappings:
        if files and len(mappings) > 1:
            raise UsageError("files go through one mapping; without files, each names its own")
        return [*open_files(mappers_of(mappings), folder, files)]
    if loaded is None or workspace is None:
        raise UsageError("name FILES with --source, or --mapping FILE, or --workspace DIR")
    return [*open_files(file_mappers(loaded, workspace), folder)]


class LoadProgress:
    """A bar on a terminal; elsewhere one remark for each phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def begin(self, phase: str, total: int | None) -> None:
        """See ``sources.load.Progress``."""
        self.close()
        if not self._console.is_terminal:
            self._console.print(PHASES[phase])
            return
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
        self._bar.start()
        self._task = self._bar.add_task(PHASES[phase], total=total)

    def at(self, done: int) -> None:
        """See ``sources.load.Progress``."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done)

    def close(self) -> None:
        """End the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None
