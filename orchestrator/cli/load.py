"""Load files of events: NDJSON, also gzipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from orchestrator.cli.session import Session
    from orchestrator.sources.identities import IdentityKinds

PHASES = {
    "sort": "sorting by time",
    "load": "loading",
    "wait": "waiting until the worker has read it",
}


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--source", required=True, help="Name of the source of lines that name none.")
@click.option("--backfill", is_flag=True, help="History: sets traits, starts nothing.")
@click.option("--clock", type=click.Choice(["broker", "log"]), help="Overrides clock.mode.")
@click.option("--again", is_flag=True, help="Also files that were loaded to their end before.")
@click.option("--until", help="On the log clock: let time run on to this instant (ISO 8601).")
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the identities from this workspace, not from the catalog in force.",
)
@output_option
@click.pass_obj
def command(
    session: Session,
    files: tuple[Path, ...],
    source: str,
    clock: str | None,
    until: str | None,
    workspace: Path | None,
    *,
    backfill: bool,
    again: bool,
) -> None:
    """Load FILES of canonical events, one JSON object a line; continues where it was stopped.

    With --clock log all lines are sent in the order of their time, the time being the log's.
    """
    from orchestrator.codec import open_codec
    from orchestrator.errors import InputError, UsageError
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
    codec = open_codec(settings)
    prepare(settings, codec)
    kinds = _workspace_kinds(workspace) if workspace else applied_kinds(settings, codec)
    progress = LoadProgress(session.output.remarks)
    loader = Loader(settings, codec, kinds, source, progress, backfill=backfill)
    try:
        summary = loader.run(files, again=again, until=end)
    finally:
        progress.close()

    def show(console: Console) -> None:
        text = f"{summary.accepted} events loaded"
        if summary.refused:
            text += f", {summary.refused} lines to dead letters"
        console.print(text)

    session.output.result(summary, show)


def _workspace_kinds(workspace: Path) -> IdentityKinds:
    from orchestrator.journeys import load_workspace
    from orchestrator.sources.identities import IdentityKinds

    definitions = load_workspace(workspace).definitions
    sources = [one.source for one in definitions if one.kind == "profile"]
    return IdentityKinds.of_profile(sources[0] if sources else "{}")


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
