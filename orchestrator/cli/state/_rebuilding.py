"""Puts together what a rebuild needs: the stage's tools, definitions, and the task's producer."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from orchestrator.cli.state._tasks import read_contents
from orchestrator.cli.worker import catalog_resolver
from orchestrator.codec import open_codec
from orchestrator.engine.assembly import build_tools, engine_config
from orchestrator.engine.audit import find_skips
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.holding import Skips
from orchestrator.engine.ports import TaskId
from orchestrator.engine.rebuild import Rebuild, Rebuilt
from orchestrator.errors import CouldNotRun, FencedError, TransactionFailed
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.kafka.reading import PartitionReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.engine.cuts import Cut
    from orchestrator.engine.engine import StageSpec
    from orchestrator.kafka.topics import Topology

READ_S: Final = 60.0
"""For the definitions topic to be read to its end."""
WRITTEN: Final = ("events", "timeline", "actions", "decisions", "outcomes")


class Rebuilding:
    """Rebuilds partitions of one stage; a context manager."""

    def __init__(self, topology: Topology, spec: StageSpec) -> None:
        settings = topology.settings
        self._topology = topology
        self._spec = spec
        self._exits = ExitStack()
        self._config = engine_config(settings)
        codec = open_codec(settings)
        codec.prepare(topology.names(*WRITTEN))
        definitions = self._exits.enter_context(DefinitionStore(settings, codec))
        try:
            definitions.wait_until_read(READ_S)
            self._skips = find_skips(topology, spec.stage.name)
        except BaseException:
            self._exits.close()
            raise
        self._tools = build_tools(settings, codec, catalog_resolver(definitions), self._config)
        self._watermarks = Watermarks(consumer_config(settings, f"{settings.app.id}-watermarks"))
        self._exits.callback(self._watermarks.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(
        self,
        number: int,
        position: int,
        progress: Callable[[int], None],
        begin: Cut | None = None,
    ) -> Rebuilt:
        """Rebuild one partition up to ``position``, from the log's first record or from a cut.

        Raises:
            CouldNotRun: A worker came in between, or Kafka did not take it.
        """
        task = TaskId(self._spec.stage.name, number)
        settings, topology = self._topology.settings, self._topology
        changelog = self._changelog(task)
        try:
            # A worker that is still there can commit nothing any more.
            changelog.fence(lambda: False)
            contents = read_contents(settings, topology, self._spec, number)
            if contents.meta.seq and contents.meta.position > position:
                raise CouldNotRun(f"{task}: a worker has gone on meanwhile: stop all of them")
            rebuild = Rebuild(
                task,
                self._spec,
                self._tools,
                self._config,
                self._skips.get(number, Skips()),
                progress,
                begin,
            )
            start = 0 if begin is None else begin.meta.position
            source = partial(PartitionReader, settings, self._spec.source, number, start)
            return rebuild.run(source, contents, position, changelog)
        except (FencedError, TransactionFailed) as failed:
            raise CouldNotRun(
                f"{task} is not rebuilt: {failed}. Stop all workers and run it again"
            ) from failed
        finally:
            changelog.close()

    def _changelog(self, task: TaskId) -> KafkaChangelog:
        settings, config = self._topology.settings, self._config
        timeout = int(config.transaction_timeout * 1000)
        return KafkaChangelog(
            ChangelogConfig(
                producer=producer_config(
                    settings,
                    **{"socket.timeout.ms": timeout, "delivery.timeout.ms": timeout},
                ),
                consumer=consumer_config(settings, f"{settings.app.id}-replay"),
                transaction_timeout=config.transaction_timeout,
                commit_timeout=config.commit_timeout,
                stuck=config.stuck_changelog,
            ),
            self._watermarks,
            topic=self._topology.changelog(self._spec.stage.table),
            source=self._spec.source,
            partition=task.partition,
            transactional_id=f"{settings.app.id}-{task.stage}-{task.partition}",
        )
