"""Run the recorded timeline again and prove that it gives what was decided."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli import FINDINGS
from orchestrator.cli.journeys.apply import Instant
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.engine.findings import Findings
    from orchestrator.settings import Settings

READ_S: Final = 60.0
"""For the definitions topic to be read to its end."""
WRITTEN: Final = ("events", "timeline", "actions", "decisions", "outcomes")


@click.command(
    epilog="Example: orchestrator replay --candidate deploy/example --since 2026-03-01T00:00:00Z"
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare decisions, actions and states with what the log gives; exit 1 if they differ.",
)
@click.option(
    "--candidate",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare what happened with what the workspace in DIR would have done.",
)
@click.option("--since", metavar="INSTANT", type=Instant(), help="When the candidate takes effect.")
@output_option
@click.pass_obj
def command(session: Session, verify: bool, candidate: Path | None, since: int | None) -> int:
    """Run the recorded log through the same stages again and compare.

    --verify: the whole timeline is read, from its first record to the newest checkpoint, and goes through the
    decide stage as in the worker: events, ticks, catalogs, timers. Then, as multisets, the decisions
    and actions in Kafka must be those, and every customer's state in the changelog must be the same,
    byte for byte. The same for the states of identify, while the events topic still reaches back to
    its first record. Nothing is written, and nothing has to be stopped for it.

    --candidate DIR --since INSTANT: both catalogs share one life until then, and run apart: who would
    have got what, what caps and gaps would have held back, how many messages a customer would have
    got, and what would have been decided otherwise, by reason. Receipts are those that there were:
    what the candidate alone would have sent, nobody has opened or clicked.
    """
    from orchestrator.errors import UsageError

    if verify == (candidate is not None) or (since is None) != (candidate is None):
        raise UsageError("say what the replay is for: --verify, or --candidate DIR --since INSTANT")
    if candidate is not None and since is not None:
        from orchestrator.cli._candidate import compare

        compare(session, candidate, since)
        return 0
    results, remarks = _audit(session)
    session.output.result(
        {"ok": all(one.sound for one in results), "stages": results, "remarks": remarks},
        lambda console: _show(console, session, results, remarks),
    )
    return 0 if all(one.sound for one in results) else FINDINGS


def _audit(session: Session) -> tuple[list[Findings], list[str]]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from orchestrator.engine.audit import LogCut

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed} records"),
        TimeElapsedColumn(),
    )
    console = session.output.remarks
    results, remarks = [], []
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-replay-") as folder,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        for stage in ("decide", "identify"):
            progress = partial(bar.advance, bar.add_task(stage, total=None))
            try:
                results.append(audit(session.settings, stage, Path(folder), progress))
            except LogCut as cut:
                if stage == "decide":
                    raise
                remarks.append(f"{stage} is not compared: {cut}")
    return results, remarks


def audit(
    settings: Settings,
    stage: str,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Findings:
    """Hold one stage of a deployment against its log.

    Args:
        settings: The deployment.
        stage: ``decide`` or ``identify``.
        folder: An empty one, for the states of the run.
        progress: Told how many records have been run since the last call.

    Raises:
        LogCut: The log does not reach back to its first record.
        UnavailableError: Kafka, the registry or a definition is away.
    """
    from orchestrator.cli.worker import catalog_resolver
    from orchestrator.codec import open_codec
    from orchestrator.engine.assembly import build_tools, engine_config
    from orchestrator.engine.audit import Audit
    from orchestrator.engine.engine import StageSpec
    from orchestrator.kafka.definitions import DefinitionStore
    from orchestrator.kafka.topics import Topology
    from orchestrator.stages.decide import Decide
    from orchestrator.stages.identify import Identify

    topology, codec = Topology(settings), open_codec(settings)
    codec.prepare(topology.names(*WRITTEN))
    run: Any = Identify(settings.app.id)
    outputs: tuple[str, ...] = ()
    if stage == "decide":
        run = Decide(assume_accepted=settings.worker.assume_accepted)
        outputs = tuple(topology.names("decisions", "actions"))
    spec = StageSpec(run, topology.name(run.source), topology.partitions(run.source))
    config = engine_config(settings)
    with DefinitionStore(settings, codec) as definitions:
        definitions.wait_until_read(READ_S)
        tools = build_tools(settings, codec, catalog_resolver(definitions), config)
        return Audit(topology, spec, tools, codec, config, outputs, folder, progress).run()


def _show(console: Console, session: Session, results: list[Findings], remarks: list[str]) -> None:
    from orchestrator.engine.findings import KINDS

    for one in results:
        console.print(
            f"{one.stage}: {one.records:,} records of {one.partitions} partitions run again, "
            f"{one.states:,} states compared byte for byte",
            markup=False,
        )
        for topic, count in sorted(one.matched.items()):
            console.print(f"  {count:>10,}  as the log gives them on {topic}", markup=False)
        for topic, count in sorted(one.aged.items()):
            console.print(f"  {count:>10,}  older than what {topic} still holds", markup=False)
        for kind, count in one.counts.items():
            console.print(f"  {count:>10,}  {kind}: {KINDS[kind]}", style="red", markup=False)
        if one.samples:
            rows = [(d.kind, d.partition, d.key, d.what, d.detail) for d in one.samples]
            columns = ("difference", "partition", "customer", "what", "expected -> found")
            session.output.table("", columns, rows)
    for remark in remarks:
        console.print(remark, markup=False)
    if all(one.sound for one in results):
        console.print("Everything is as the log says: nothing lost, nothing twice.", style="green")
