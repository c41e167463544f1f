"""Run a workspace over files of events on a virtual clock, without Kafka."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli._mappings import mapping_options
from orchestrator.cli.journeys.apply import Instant
from orchestrator.cli.output import output_option
from orchestrator.errors import InputError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.journeys import Workspace
    from orchestrator.records import Event
    from orchestrator.testing.harness import Output
    from orchestrator.testing.simulation import Tally


@click.command()
@click.argument("workspace_folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--events",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Canonical events, one JSON object a line, sorted by occurred_at; .gz is unpacked.",
)
@mapping_options
@click.option(
    "--source",
    default="file",
    show_default=True,
    help="With --events: source of lines that name none; as for load, or the ids differ.",
)
@click.option(
    "--until",
    metavar="INSTANT",
    type=Instant(),
    help="Let time run on behind the last event, so that waits and deferred sends come due.",
)
@click.option(
    "--decisions",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every decision there, one JSON object a line, in the order of the log.",
)
@output_option
@click.pass_obj
def command(
    session: Session,
    workspace_folder: Path,
    file: Path | None,
    mappings: tuple[Path, ...],
    folder: Path,
    source: str,
    until: int | None,
    decisions: Path | None,
) -> None:
    """Run the workspace in DIR over events: the same decisions that the worker makes.

    Without --events they come through the mappings of files: those given, or all of the workspace,
    merged by their time. Every action counts as accepted, as in ``load --clock log``.

    \b
    orchestrator simulate journeys/ --events events.ndjson.gz
    orchestrator simulate journeys/ --data exports/
    """  # noqa: D301 - click's mark for lines that stay lines
    from collections import Counter

    import msgspec

    from orchestrator.errors import UsageError
    from orchestrator.journeys import load_workspace
    from orchestrator.records import Decision
    from orchestrator.testing.simulation import simulate

    if file and mappings:
        raise UsageError("--events are canonical already; they go through no --mapping")
    workspace = load_workspace(workspace_folder)
    encode = msgspec.json.Encoder(order="deterministic").encode
    began = time.perf_counter()
    with ExitStack() as stack:
        lines = stack.enter_context(decisions.open("wb")) if decisions else None

        def write(output: Output) -> None:
            if lines is not None and isinstance(output.emit.record, Decision):
                lines.write(encode(output.emit.record) + b"\n")

        refused: Counter[str] = Counter()
        found = (
            _canonical(file, source)
            if file
            else _mapped(workspace, workspace_folder, mappings, folder)
        )
        events = _events(session, found, refused)
        tally = simulate(workspace.catalog, events, until=until, each=write)
    tally.dead_letters |= refused
    seconds = time.perf_counter() - began
    session.output.result(
        {**msgspec.to_builtins(tally), "seconds": round(seconds, 3)},
        lambda console: _show(console, tally, seconds),
    )


def _canonical(file: Path, source: str) -> Iterator[Event | InputError]:
    """Yield the events of a file as they stand there."""
    from orchestrator.sources.inputs import CanonicalFile

    given = CanonicalFile(file, source)
    for piece in given.pieces():
        try:
            yield from given.events(piece)
        except InputError as error:
            yield error


def _mapped(
    workspace: Workspace, place: Path, mappings: tuple[Path, ...], folder: Path
) -> Iterator[Event | InputError]:
    """Yield what the mappings make of their files, by time."""
    from orchestrator.cli._mappings import file_mappers, kinds_of, mappers_of
    from orchestrator.sources.inputs import by_time
    from orchestrator.sources.mappings.files import open_files

    mappers = mappers_of(mappings) if mappings else file_mappers(workspace, place)
    kinds = kinds_of(workspace)
    inputs = open_files(mappers, folder)
    for one in by_time(inputs, lambda event: kinds.key(event.identities)):
        if one.event is not None:
            yield one.event
        elif one.error is not None:
            yield InputError(f"{one.input.path.name} at {one.offset}: {one.error}", one.error.cause)


def _events(
    session: Session, found: Iterator[Event | InputError], refused: Counter[str]
) -> Iterator[Event]:
    """Yield the events; what is none is refused, as ``load`` does."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from orchestrator.records import Event

    columns = (SpinnerColumn(), TextColumn("{task.completed} events"), TimeElapsedColumn())
    remarks = session.output.remarks
    with Progress(
        *columns, console=remarks, transient=True, disable=not remarks.is_terminal
    ) as bar:
        task = bar.add_task("events", total=None)
        for one in found:
            bar.advance(task)
            if isinstance(one, Event):
                yield one
            else:
                refused[one.cause] += 1
                remarks.print(str(one), markup=False)


def _show(console: Console, tally: Tally, seconds: float) -> None:
    merged = f" ({tally.merges:,} merged)" if tally.merges else ""
    console.print(
        f"{tally.events:,} events of {tally.customers:,} customers{merged} in {seconds:.1f} s",
        markup=False,
    )
    for title, counts in (
        ("entries", tally.entries),
        ("refused entries", tally.refused),
        ("exits", tally.exits),
        ("actions", tally.actions),
        ("not sent, or not yet", tally.not_sent),
        ("dead letters", tally.dead_letters),
    ):
        if counts:
            console.print(f"\n{title}: {sum(counts.values()):,}", markup=False)
            for name, count in counts.items():
                console.print(f"  {count:>8,}  {name}", markup=False)
    if tally.cancels:
        console.print(f"\ncancel actions: {tally.cancels:,}", markup=False)
