"""Build states anew: the local copy from the changelog, or the changelog from the log."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option
from orchestrator.cli.state._tasks import chosen, stage_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.engine.engine import StageSpec
    from orchestrator.engine.localcopies import LocalCopy
    from orchestrator.kafka.topics import Topology


@click.command(epilog="Example: orchestrator state reset --stage decide --partition 3 --yes")
@stage_option(required=True)
@click.option("--partition", metavar="P", type=click.IntRange(min=0), help="This partition.")
@click.option("--all", "everything", is_flag=True, help="All partitions of the stage.")
@click.option(
    "--from",
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Begin at the cuts that `state export` wrote there, not at the input's first record.",
)
@click.option("--local", is_flag=True, help="Only remove the local copies on this machine.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where this machine's workers have their copies; else `worker.data_dir`.",
)
@click.option("--yes", is_flag=True, help="Do it. Without: only say what would be done.")
@output_option
@click.pass_obj
def command(
    session: Session,
    stage: str,
    partition: int | None,
    everything: bool,
    folder: Path | None,
    local: bool,
    data_dir: Path | None,
    yes: bool,
) -> None:
    """Build the states of a stage anew. Without --yes only say what would be done.

    --local: removes the copies in RocksDB on this machine. Kafka holds all that they hold; the worker
    builds them again when it starts.

    Else: the stage's input is run again, from its first record to the last checkpoint, by the same
    code as in the worker. What left then has left; it is not sent again. The changelog is made to
    say what the run gives: states that differ are written, states too many are removed, and the
    worker goes on at the checkpoint. Then the copies on this machine are removed; on other machines
    run it with --local before you start their workers.

    Refused while a worker owns the partition, and when the input does not reach back to its first
    record or to the cut given with --from. A worker that comes in the midst of it shuts this command out, and nothing has changed
    that it would take for whole: run it again.
    """
    from orchestrator.errors import CouldNotRun, UsageError
    from orchestrator.kafka.topics import Topology

    if (partition is not None) == everything:
        raise UsageError("name the --partition, or give --all")
    if local and folder is not None:
        raise UsageError("--local needs no --from: the changelog has it all")
    settings = session.settings
    topology = Topology(settings)
    tasks = list(chosen(topology, stage, partition))
    copies = _copies(data_dir or Path(settings.worker.data_dir), tasks)
    plans: list[dict[str, Any]] = []
    if not local:
        plans = [_plan(session, topology, spec, number, folder) for spec, number in tasks]
    refusals = [text for plan in plans for text in plan["refused"]]
    refusals += [
        f"{copy.path} is open in a worker: stop it"
        for each in copies.values()
        for copy in each
        if copy.in_use
    ]
    if refusals:
        raise CouldNotRun("nothing was changed:\n" + "\n".join(refusals))
    if yes and not local:
        _rebuild(session, topology, tasks, plans, folder)
    if yes:
        for each in copies.values():
            for copy in each:
                copy.wipe()
    removed = [str(copy.path) for each in copies.values() for copy in each]
    session.output.result(
        {"done": yes, "partitions": plans, "local": removed},
        lambda console: _show(console, plans, removed, done=yes),
    )


def _copies(data_dir: Path, tasks: Sequence[tuple[StageSpec, int]]) -> dict[int, list[LocalCopy]]:
    from orchestrator.engine.localcopies import local_copies
    from orchestrator.engine.ports import TaskId

    return {
        number: list(local_copies(data_dir, TaskId(spec.stage.name, number)))
        for spec, number in tasks
    }


def _plan(
    session: Session, topology: Topology, spec: StageSpec, number: int, folder: Path | None
) -> dict[str, Any]:
    """Say what a rebuild of one partition would do, or why it must not."""
    from orchestrator.cli.state._tasks import read_contents
    from orchestrator.engine.cuts import read_cut
    from orchestrator.engine.ports import TaskId
    from orchestrator.kafka.groups import committed, owners
    from orchestrator.kafka.reading import PartitionReader

    settings = session.settings
    contents = read_contents(settings, topology, spec, number)
    with PartitionReader(settings, spec.source, number) as source:
        first, end = source.bounds()
    group = settings.app.id
    vouched = committed(settings, group, spec.source, number)
    position = max(vouched, contents.meta.position if contents.meta.seq else 0)
    cut = None if folder is None else read_cut(folder, TaskId(spec.stage.name, number))
    begin = 0 if cut is None else cut.meta.position
    position = max(position, begin)
    name, refused = f"{spec.stage.name}-{number}", []
    if owner := owners(settings, group).get((spec.source, number)):
        refused.append(
            f"{name}: the worker {owner} owns it; stop all workers (one that was killed counts as "
            "alive for 10 s)"
        )
    if cut is not None and cut.source != spec.source:
        refused.append(f"{name}: the cut is of a deployment that reads {cut.source}")
    if begin < first:
        refused.append(
            f"{name}: {spec.source} [{number}] begins at offset {first}: what came before has been "
            f"deleted, and the state stems from it. Give --from a `state export` that goes on at "
            f"{first} or later, or put the changelog back from a backup"
        )
    elif position > end:
        refused.append(
            f"{name}: the state goes on at {position}, but {spec.source} [{number}] ends at {end}: "
            "the input was recreated; put it back from a backup, or begin with a new topics.prefix"
        )
    return {
        "stage": spec.stage.name,
        "partition": number,
        "changelog": topology.changelog(spec.stage.table),
        "problems": contents.problems,
        "states": len(contents.states),
        "begin": begin,
        "position": position,
        "refused": refused,
    }


def _rebuild(
    session: Session,
    topology: Topology,
    tasks: Sequence[tuple[StageSpec, int]],
    plans: Sequence[dict[str, Any]],
    folder: Path | None,
) -> None:
    import msgspec
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from orchestrator.cli.state._rebuilding import Rebuilding
    from orchestrator.engine.cuts import read_cut
    from orchestrator.engine.ports import TaskId

    console = session.output.remarks
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed} records"),
        TimeElapsedColumn(),
    )
    with ExitStack() as stack:
        bar = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        rebuilding = stack.enter_context(Rebuilding(topology, tasks[0][0]))
        for (spec, number), plan in zip(tasks, plans, strict=True):
            name = f"{spec.stage.name}-{number}"
            progress = partial(bar.advance, bar.add_task(name, total=None))
            cut = None if folder is None else read_cut(folder, TaskId(spec.stage.name, number))
            done = rebuilding.run(number, plan["position"], progress, cut)
            plan["rebuilt"] = msgspec.to_builtins(done)


def _show(
    console: Console, plans: Sequence[dict[str, Any]], removed: Sequence[str], *, done: bool
) -> None:
    for plan in plans:
        name = f"{plan['stage']}-{plan['partition']}"
        for problem in plan["problems"]:
            console.print(f"{name}: {problem}", markup=False)
        if not done:
            console.print(
                f"{name}: would run the input's offsets {plan['begin']:,} to {plan['position']:,} again "
                "and correct "
                f"{plan['changelog']}, which holds {plan['states']:,} states",
                markup=False,
            )
            continue
        got = plan["rebuilt"]
        console.print(
            f"{name}: {got['records']:,} records run again, {got['states']:,} states; "
            f"{got['written']:,} written, {got['removed']:,} removed; goes on at "
            f"{got['position']:,}",
            markup=False,
        )
    for path in removed:
        console.print(f"{'removed' if done else 'would remove'} {path}", markup=False)
    if not done:
        console.print("Nothing was changed: --yes does it.")
