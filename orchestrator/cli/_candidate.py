"""``replay --candidate``: what a workspace would have done beside what happened."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.replay import READ_S, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.comparing import Comparison, Count
    from orchestrator.engine.candidate import Course
    from orchestrator.journeys import Workspace
    from orchestrator.settings import Settings

SHOWN: Final = 20
"""So many customers are shown; --output json has them all."""


def compare(session: Session, folder: Path, since: int) -> None:
    """Run the comparison and show it."""
    import msgspec
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from orchestrator.journeys import load_workspace

    workspace = load_workspace(folder)
    console = session.output.remarks
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed} records"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        course, comparison = run(
            session.settings, workspace, since, lambda count: bar.advance(task, count)
        )
    data = {
        "since": since,
        "records": course.records,
        **msgspec.to_builtins(comparison),
        "not_comparable": _not_comparable(course),
    }
    session.output.result(data, lambda console: _show(console, session, course, comparison))


def run(
    settings: Settings,
    workspace: Workspace,
    since: int,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Course, Comparison]:
    """Return how the run went and what would have been otherwise.

    Raises:
        CouldNotRun: No catalog was ever applied.
        SettingsError: The candidate's channels have no topics.
        UnavailableError: Kafka, the registry or a definition is away.
    """
    from orchestrator.cli.journeys._deployed import in_force
    from orchestrator.cli.journeys.apply import check_channels
    from orchestrator.cli.worker import catalog_resolver
    from orchestrator.codec import open_codec
    from orchestrator.comparing import Comparer
    from orchestrator.engine.assembly import build_tools, engine_config
    from orchestrator.engine.candidate import CandidateRun
    from orchestrator.engine.engine import StageSpec
    from orchestrator.journeys import catalog_hash, compile_catalog
    from orchestrator.kafka.definitions import DefinitionStore, read_definitions
    from orchestrator.kafka.topics import Topology
    from orchestrator.records import CatalogSwitch
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide import Decide

    check_channels(settings, workspace)
    topology, codec = Topology(settings), open_codec(settings)
    codec.prepare(topology.names(*WRITTEN))
    today = in_force(read_definitions(settings, codec))
    own = {f"{one.kind}/{one.name}": one for one in workspace.definitions}
    by_hash = {one.hash: one for one in workspace.definitions}
    hashes = {name: one.hash for name, one in own.items()}

    def candidate(before: CatalogSwitch | None) -> CatalogSwitch:
        """Return what ``apply`` would write: journeys keep their status, new ones are live."""
        kept: dict[str, Any] = dict(before.status) if before is not None else {}
        status = {name: kept.get(name, "live") for name in workspace.catalog.journeys}
        return CatalogSwitch(
            catalog=catalog_hash(hashes, status), definitions=hashes, status=status
        )

    with DefinitionStore(settings, codec) as definitions:
        definitions.wait_until_read(READ_S)
        recorded = catalog_resolver(definitions)

        def resolve(switch: CatalogSwitch) -> Catalog:
            if switch.definitions != hashes:
                return recorded(switch)
            status: Any = switch.status
            return compile_catalog(own, status, lambda h: by_hash.get(h) or definitions.get(h))

        comparer = Comparer()
        config = engine_config(settings)
        stage: Any = Decide(assume_accepted=settings.worker.assume_accepted)
        spec = StageSpec(stage, topology.name(stage.source), topology.partitions(stage.source))
        tools = build_tools(settings, codec, resolve, config)
        with tempfile.TemporaryDirectory(prefix="orchestrator-replay-") as place:
            course = CandidateRun(
                topology,
                spec,
                tools,
                codec,
                config,
                Path(place),
                since,
                today,
                candidate,
                comparer.add,
                progress,
            ).run()
    return course, comparer.result(course.older | course.unsettled)


def _not_comparable(course: Course) -> list[dict[str, str]]:
    reasons = (
        (course.older, "their life began before the log that there still is"),
        (course.unsettled, "they took in a customer whose life under the candidate is not known"),
    )
    return [
        {"customer": name, "reason": reason} for names, reason in reasons for name in sorted(names)
    ]


def _show(console: Console, session: Session, course: Course, found: Comparison) -> None:
    console.print(
        f"{course.records:,} records of {course.partitions} partitions, run twice", markup=False
    )
    table = session.output.table
    for title, counts in (
        ("entries", found.entries),
        ("ends of entries", found.exits),
        ("messages sent", found.sent),
        ("not sent, or not yet, by reason", found.reasons),
        ("held back or put off, by rule", found.rules),
    ):
        if counts:
            table(title, ("", "happened", "candidate", "change"), [_row(one) for one in counts])
    pressure = [
        (
            word,
            *(getattr(found.pressure[side], name) for side in ("actual", "candidate")),
        )
        for word, name in (
            ("messages", "messages"),
            ("customers who got any", "customers"),
            ("messages each, on average", "mean"),
            ("95 of 100 got at most", "p95"),
            ("the most for one", "most"),
        )
    ]
    table("pressure", ("", "happened", "candidate"), pressure)
    rows = [
        (one.customer, ", ".join(one.more), ", ".join(one.less)) for one in found.customers[:SHOWN]
    ]
    if rows:
        table("who would have got something else", ("customer", "more", "less"), rows)
    left = len(found.customers) - SHOWN
    if left > 0:
        console.print(f"... and {left:,} more customers: --output json")
    if not found.customers:
        console.print("Everybody would have got the same.")
    others = _not_comparable(course)
    if others:
        console.print(f"\nnot comparable: {len(others):,} customers", markup=False)
        for one in others[:SHOWN]:
            console.print(f"  {one['customer']}: {one['reason']}", markup=False)


def _row(count: Count) -> tuple[str, int, int, str]:
    change = count.candidate - count.actual
    return count.what, count.actual, count.candidate, f"{change:+d}" if change else ""
