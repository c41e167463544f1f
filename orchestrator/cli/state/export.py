"""Write the states at their newest checkpoint into files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option
from orchestrator.cli.state._tasks import chosen, partition_option, read_contents, stage_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session


@click.command(epilog="Example: orchestrator state export /backup/2026-11-21")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@stage_option()
@partition_option
@output_option
@click.pass_obj
def command(session: Session, folder: Path, stage: str | None, partition: int | None) -> None:
    """Write a cut of each partition into DIR: all its states, and where its input goes on.

    Nothing has to be stopped. A cut is consistent in itself; the partitions are cut one after the
    other. `state reset --from DIR` begins at a cut, so a rebuild stays possible when the input's first
    records have been deleted: export more often than the retention of `events` and `timeline`. A
    changelog that does not add up is not exported. The files hold personal data.
    """
    from orchestrator.engine.cuts import write_cut
    from orchestrator.engine.ports import TaskId
    from orchestrator.errors import CouldNotRun
    from orchestrator.kafka.topics import Topology

    topology = Topology(session.settings)
    written: list[dict[str, Any]] = []
    for spec, number in chosen(topology, stage, partition):
        task = TaskId(spec.stage.name, number)
        contents = read_contents(session.settings, topology, spec, number)
        if not contents.sound:
            raise CouldNotRun(f"{task} is not exported: {'; '.join(contents.problems)}")
        if not contents.meta.seq:
            continue  # nothing has happened there
        path = write_cut(folder, task, spec.source, contents)
        written.append(
            {
                "file": str(path),
                "stage": task.stage,
                "partition": number,
                "states": len(contents.states),
                "position": contents.meta.position,
            }
        )

    def show(console: Console) -> None:
        for one in written:
            text = f"{one['file']}: {one['states']:,} states, input goes on at {one['position']:,}"
            console.print(text, markup=False)

    session.output.result({"cuts": written}, show)
