"""Run a workspace over a file of events on a virtual clock, without Kafka."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.journeys.apply import Instant
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.records import Event
    from orchestrator.testing.harness import Output
    from orchestrator.testing.simulation import Tally


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--events",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Canonical events, one JSON object a line, sorted by occurred_at; .gz is unpacked.",
)
@click.option(
    "--source",
    default="file",
    show_default=True,
    help="Source of lines that name none; the same as for load, or the ids differ.",
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
    folder: Path,
    file: Path,
    source: str,
    until: int | None,
    decisions: Path | None,
) -> None:
    """Run the workspace in DIR over the events in FILE: the same decisions that the worker makes.

    Every action counts as accepted, as in ``load --clock log``.
    """
    import msgspec

    from orchestrator.journeys import load_workspace
    from orchestrator.records import Decision
    from orchestrator.testing.simulation import simulate

    workspace = load_workspace(folder)
    encode = msgspec.json.Encoder(order="deterministic").encode
    began = time.perf_counter()
    with ExitStack() as stack:
        lines = stack.enter_context(decisions.open("wb")) if decisions else None

        def write(output: Output) -> None:
            if lines is not None and isinstance(output.emit.record, Decision):
                lines.write(encode(output.emit.record) + b"\n")

        refused: list[str] = []
        events = _events(session, file, source, refused)
        tally = simulate(workspace.catalog, events, until=until, each=write)
    if refused:
        tally.dead_letters["bad_line"] = len(refused)
    seconds = time.perf_counter() - began
    session.output.result(
        {**msgspec.to_builtins(tally), "seconds": round(seconds, 3)},
        lambda console: _show(console, tally, seconds),
    )


def _events(session: Session, file: Path, source: str, refused: list[str]) -> Iterator[Event]:
    """Yield the events of a file; a line that is none is refused, as ``load`` does."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from orchestrator.errors import InputError
    from orchestrator.sources.ndjson import file_identity, parse_line, read_lines

    identity = file_identity(file)
    columns = (SpinnerColumn(), TextColumn("{task.completed} events"), TimeElapsedColumn())
    remarks = session.output.remarks
    with Progress(
        *columns, console=remarks, transient=True, disable=not remarks.is_terminal
    ) as bar:
        task = bar.add_task("events", total=None)
        for line in read_lines(file):
            bar.advance(task)
            try:
                yield parse_line(line.data, source, identity, line.offset)
            except InputError as error:
                refused.append(str(error))
                remarks.print(str(error), markup=False)


def _show(console: Console, tally: Tally, seconds: float) -> None:
    console.print(
        f"{tally.events:,} events of {tally.customers:,} customers in {seconds:.1f} s",
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
