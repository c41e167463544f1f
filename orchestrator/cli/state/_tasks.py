"""Which partitions of which stages a verb is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from orchestrator.engine.contents import Contents
    from orchestrator.engine.engine import StageSpec
    from orchestrator.kafka.topics import Topology
    from orchestrator.settings import Settings

    F = TypeVar("F", bound=Callable[..., Any])

STAGES: Final = ("identify", "decide")


def stage_option(*, required: bool = False) -> Callable[[F], F]:
    """Add ``--stage``."""
    text = "Only this stage." if not required else "Whose states."
    return click.option("--stage", type=click.Choice(STAGES), required=required, help=text)


def partition_option(verb: F) -> F:
    """Add ``--partition``."""
    return click.option(
        "--partition", metavar="P", type=click.IntRange(min=0), help="Only this partition."
    )(verb)


def spec_of(topology: Topology, stage: str) -> StageSpec:
    """Return a stage as the worker runs it."""
    from orchestrator.engine.engine import StageSpec
    from orchestrator.stages.decide import Decide
    from orchestrator.stages.identify import Identify

    run: Any = Identify(topology.settings.app.id)
    if stage == "decide":
        run = Decide(assume_accepted=topology.settings.worker.assume_accepted)
    return StageSpec(run, topology.name(run.source), topology.partitions(run.source))


def chosen(
    topology: Topology, stage: str | None, partition: int | None
) -> Iterator[tuple[StageSpec, int]]:
    """Yield (stage, partition) of all that is meant.

    Raises:
        UsageError: There is no such partition.
    """
    from orchestrator.errors import UsageError

    for name in STAGES if stage is None else (stage,):
        spec = spec_of(topology, name)
        if partition is not None and partition >= spec.partitions:
            raise UsageError(f"{name} has the partitions 0 to {spec.partitions - 1}")
        for number in range(spec.partitions) if partition is None else (partition,):
            yield spec, number


def read_contents(settings: Settings, topology: Topology, spec: StageSpec, number: int) -> Contents:
    """Read one changelog partition to its end and judge it."""
    from orchestrator.engine.contents import Contents
    from orchestrator.kafka.reading import PartitionReader

    contents = Contents()
    with PartitionReader(settings, topology.changelog(spec.stage.table), number) as reader:
        contents.read(reader)
    contents.judge()
    return contents
