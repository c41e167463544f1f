"""Puts an engine together from settings; the stages and the catalogs come from the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from orchestrator.engine.catalogs import CatalogBook
from orchestrator.engine.changelog import ChangelogConfig, KafkaChangelog, Watermarks
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.decoding import Decoder
from orchestrator.engine.engine import Engine, StageSpec
from orchestrator.engine.envelope import CloudEvents
from orchestrator.engine.host import EngineApp, create_app
from orchestrator.engine.marks import Marks
from orchestrator.engine.metrics import CommitObserver
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Codec, FindSkip, ResolveCatalog, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.states import Room
from orchestrator.engine.store import Stores
from orchestrator.engine.ticks import KafkaTicks, NoTicks
from orchestrator.engine.timers import due_of, key_of
from orchestrator.errors import PoisonError, UnavailableError
from orchestrator.kafka.clients import bootstrap_servers, consumer_config, producer_config
from orchestrator.kafka.groups import committed
from orchestrator.kafka.login import aiokafka_credentials
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.observability import metrics
from orchestrator.records import Skip
from orchestrator.settings import Settings
from orchestrator.stages.protocol import Stage

INPUTS_A_SECOND = 10_000
"""A backlog's share in a checkpoint, for each second between two."""
LARGEST_MESSAGE = 2 * 1024 * 1024
"""What our producers let through; the brokers' topics decide. A dead letter gains headers."""


def engine_config(settings: Settings) -> EngineConfig:
    """Return the engine's numbers for these settings.

    Who asks for seldom checkpoints gets large ones: as many inputs as a backlog has in the meantime.
    """
    own, linger = EngineConfig(), settings.worker.checkpoint_ms / 1000
    return EngineConfig(
        clock=settings.clock.mode,
        linger=linger,
        backlog_linger=max(own.backlog_linger, linger),
        max_inputs=max(own.max_inputs, int(INPUTS_A_SECOND * linger)),
        tick_gap=settings.worker.tick_gap_ms / 1000,
    )


def build_app(
    settings: Settings,
    stages: Sequence[Stage[Any]],
    codec: Codec,
    resolve_catalog: ResolveCatalog,
    *,
    on_fatal: Callable[[BaseException], None],
    config: EngineConfig | None = None,
    on_point: Callable[[str], None] = lambda _point: None,
) -> EngineApp:
    """Return the worker's app: ``stages`` in one group, on this deployment's topics.

    Args:
        settings: The deployment.
        stages: Each reads its ``source`` and owns the changelog of its ``table``.
        codec: Prepared for everything that the stages write.
        resolve_catalog: Compiles the catalog that a switch names.
        on_fatal: Ends the process.
        config: The engine's numbers, if not those of the settings.
        on_point: For faults, see ``Engine`` and ``ChangelogConfig``.
    """
    topology = Topology(settings)
    config = config or engine_config(settings)
    engine = _engine(settings, topology, config, stages, codec, resolve_catalog, on_fatal, on_point)
    slot = settings.worker.slot
    data_dir = _directory(settings) / "faust"
    data_dir.mkdir(parents=True, exist_ok=True)
    return create_app(
        engine,
        app_id=settings.app.id,
        brokers=bootstrap_servers(settings),
        credentials=aiokafka_credentials(settings),
        data_dir=data_dir,
        instance=f"{settings.app.id}-{slot}",
        web=(settings.worker.web_host, port) if (port := settings.worker.web_port) else None,
    )


def build_tools(
    settings: Settings, codec: Codec, resolve_catalog: ResolveCatalog, config: EngineConfig
) -> Tools:
    """Return what all tasks of a process share; also for a run over the recorded log."""
    envelope = CloudEvents(settings.app.id)
    names = lru_cache(Topology(settings).name)
    return Tools(
        decoder=Decoder(codec),
        encoder=OutputEncoder(codec, envelope, names, config.max_message),
        envelope=envelope,
        book=CatalogBook(resolve_catalog),
        max_state=config.max_state,
        room=Room(config.cached_bytes),
    )


def _skip_finder(settings: Settings, codec: Codec) -> FindSkip:
    def find(
        topic: str, partition: int, offset: int, timer: bytes | None, start: int
    ) -> tuple[str | None, int]:
        wanted = (
            Skip(partition=partition, offset=offset, reason="")
            if timer is None
            else Skip(
                partition=partition,
                offset=offset,
                reason="",
                timer=key_of(timer).decode(),
                due=due_of(timer),
            )
        )
        for message in read_partition(settings, topic, partition, start):
            start = (message.offset() or 0) + 1
            try:
                record = codec.decode(message.value() or b"")
            except (PoisonError, UnavailableError):
                continue  # no order of ours: its schema was prepared
            if isinstance(record, Skip) and replace(record, reason="") == wanted:
                return record.reason, start
        return None, start

    return find


def _directory(settings: Settings) -> Path:
    return Path(settings.worker.data_dir) / f"slot-{settings.worker.slot}"


def _engine(
    settings: Settings,
    topology: Topology,
    config: EngineConfig,
    stages: Sequence[Stage[Any]],
    codec: Codec,
    resolve_catalog: ResolveCatalog,
    on_fatal: Callable[[BaseException], None],
    on_point: Callable[[str], None],
) -> Engine:
    specs = {
        stage.name: StageSpec(stage, topology.name(stage.source), topology.partitions(stage.source))
        for stage in stages
    }
    changelog_config = ChangelogConfig(
        producer=producer_config(
            settings,
            **{
                # As long as librdkafka lets it be, and longer than ``commit_timeout``.
                "socket.timeout.ms": int(config.transaction_timeout * 1000),
                "delivery.timeout.ms": int(config.transaction_timeout * 1000),
                "message.max.bytes": LARGEST_MESSAGE,
                "queue.buffering.max.messages": 500_000,
            },
        ),
        consumer=consumer_config(settings, f"{settings.app.id}-replay"),
        transaction_timeout=config.transaction_timeout,
        commit_timeout=config.commit_timeout,
        stuck=config.stuck_changelog,
        on_point=on_point,
    )
    watermarks = Watermarks(consumer_config(settings, f"{settings.app.id}-watermarks"))

    def changelog(task: TaskId) -> KafkaChangelog:
        spec = specs[task.stage]
        return KafkaChangelog(
            changelog_config,
            watermarks,
            topic=topology.changelog(spec.stage.table),
            source=spec.source,
            partition=task.partition,
            transactional_id=f"{settings.app.id}-{task.stage}-{task.partition}",
            committed=partial(committed, settings, settings.app.id),
        )

    tools = build_tools(settings, codec, resolve_catalog, config)
    ticks: KafkaTicks | NoTicks = NoTicks()
    if config.clock == "broker":
        ticks = KafkaTicks(
            producer_config(settings), {name: spec.source for name, spec in specs.items()}
        )
        ticks.warm()
    engine = Engine(
        config,
        list(specs.values()),
        tools,
        changelogs=changelog,
        stores=Stores(_directory(settings)),
        ticks=ticks,
        on_fatal=on_fatal,
        marks=Marks(_directory(settings) / "marks"),
        find_skip=_skip_finder(settings, codec),
        on_point=on_point,
    )
    engine.on_commit = CommitObserver(live=config.clock == "broker")
    room = partial(metrics.free_bytes, _directory(settings))
    metrics.disk_free_bytes.labels("worker").set_function(room)
    return engine
