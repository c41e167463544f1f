"""Check that every changelog, and on request every local copy, adds up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli import FINDINGS
from orchestrator.cli.output import output_option
from orchestrator.cli.state._tasks import chosen, partition_option, read_contents, stage_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.engine.contents import Contents
    from orchestrator.engine.engine import StageSpec
    from orchestrator.kafka.topics import Topology

REBUILD: Final = "orchestrator state reset --stage {stage} --partition {partition}"
LOCAL: Final = f"{REBUILD} --local"


@click.command(epilog="Example: orchestrator state check --stage decide --partition 3")
@stage_option()
@partition_option
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check the local copies below this `worker.data_dir` too.",
)
@output_option
@click.pass_obj
def command(
    session: Session, stage: str | None, partition: int | None, data_dir: Path | None
) -> int:
    """Read the changelogs as a worker does that begins anew, and say what they hold.

    Nothing is written and nothing has to be stopped. A finding names what is wrong and the remedy;
    the exit code is then 1. A local copy is checked unless a worker has it open.
    """
    from orchestrator.kafka.topics import Topology

    topology = Topology(session.settings)
    rows = [
        _row(session, topology, spec, number, data_dir)
        for spec, number in chosen(topology, stage, partition)
    ]
    sound = not any(row["problems"] for row in rows)
    session.output.result(
        {"ok": sound, "partitions": rows}, lambda console: _show(console, session, rows)
    )
    return 0 if sound else FINDINGS


def _row(
    session: Session, topology: Topology, spec: StageSpec, number: int, data_dir: Path | None
) -> dict[str, Any]:
    from orchestrator.kafka.reading import PartitionReader

    contents = read_contents(session.settings, topology, spec, number)
    with PartitionReader(session.settings, spec.source, number) as source:
        first, end = source.bounds()
    meta, where = contents.meta, {"stage": spec.stage.name, "partition": number}
    problems = [{"what": one, "remedy": REBUILD.format(**where)} for one in contents.problems]
    if meta.seq and not first <= meta.position <= end:
        text = f"it goes on at {meta.position}, but {spec.source} holds {first}..{end}"
        remedy = "see `Changelog torn, recreated or cut` in deploy/README.md"
        problems.append({"what": text, "remedy": remedy})
    local = []
    if data_dir is not None:
        for copy, wrong in _local(data_dir, spec, number, contents):
            local.append(copy)
            problems += [
                {"what": f"{copy['path']}: {one}", "remedy": LOCAL.format(**where)} for one in wrong
            ]
    return {
        **where,
        "changelog": topology.changelog(spec.stage.table),
        "sequence": meta.seq,
        "position": meta.position,
        "log_time": meta.log_time,
        "states": len(contents.states),
        "bytes": contents.size,
        "catalog": meta.catalogs[-1].switch.catalog if meta.catalogs else "",
        "sweeping": meta.sweep is not None,
        "lag": end - meta.position if meta.seq else end - first,
        "source": [first, end],
        "rebuildable": first == 0,
        "local": local,
        "problems": problems,
    }


def _local(
    data_dir: Path, spec: StageSpec, number: int, contents: Contents
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    from orchestrator.engine.localcopies import local_copies
    from orchestrator.engine.ports import TaskId

    for copy in local_copies(data_dir, TaskId(spec.stage.name, number)):
        row: dict[str, Any] = {"path": str(copy.path), "in_use": copy.in_use}
        if row["in_use"]:
            yield row, []
            continue
        meta, wrong = copy.check()
        row |= {"sequence": meta.seq, "changelog_offset": meta.changelog_offset}
        if not contents.first <= meta.changelog_offset <= contents.end:
            wrong.append(
                f"it continues at offset {meta.changelog_offset} of a changelog that holds "
                f"{contents.first}..{contents.end}: that was recreated or cut"
            )
        elif (
            meta.verified and meta.seq == contents.meta.seq and meta.digest != contents.meta.digest
        ):
            wrong.append("it differs from the changelog at the same sequence")
        yield row, wrong


def _show(console: Console, session: Session, rows: list[dict[str, Any]]) -> None:
    from orchestrator.explain import instant

    columns = ("stage", "partition", "sequence", "position", "log time", "states", "bytes")
    table = [
        (
            row["stage"],
            row["partition"],
            row["sequence"],
            row["position"],
            instant(row["log_time"]) if row["log_time"] else "",
            f"{row['states']:,}",
            f"{row['bytes']:,}",
            row["catalog"][:12],
            f"{row['lag']:,}",
            "FINDING" if row["problems"] else "ok",
        )
        for row in rows
    ]
    session.output.table("", (*columns, "catalog", "lag", ""), table)
    for row in rows:
        for copy in row["local"]:
            if copy["in_use"]:
                console.print(f"{copy['path']}: not checked, a worker has it open", markup=False)
        for problem in row["problems"]:
            console.print(
                f"{row['stage']} {row['partition']}: {problem['what']}", style="red", markup=False
            )
            console.print(f"  -> {problem['remedy']}", markup=False)
