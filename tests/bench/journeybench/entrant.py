# ruff: noqa: ARG002 - protocols have arguments that the job does not need
"""Our engine as an entrant of the peers' benchmark: one worker process with the job as its stage.

The environment is the peers' (``JB_*``). Everything else is the product: group, transactions,
RocksDB, changelog, integrity records. It commits as often as every entrant (``JB_COMMIT_MS``: equal
terms; the product's own setting is five times as often). One number is not the product's own: its
room for states has no bound, so all of them stay decoded.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from confluent_kafka.admin import AdminClient, NewTopic
from job_stage import JobCodec, JobStage

from orchestrator.engine import assembly
from orchestrator.engine.host import die, serve
from orchestrator.kafka.topics import Topology
from orchestrator.observability import configure_logging
from orchestrator.settings import load_settings
from orchestrator.stages.catalog import EMPTY

ENV = os.environ
PARTITIONS = int(ENV["JB_PARTITIONS"])


class PeersTopology(Topology):
    """The names that the runner gives."""

    def name(self, logical: str, channel: str = "") -> str:
        names = {"timeline": ENV["JB_EVENTS"], "decisions": ENV["JB_DECISIONS"]}
        return names.get(logical) or f"{ENV['JB_APP']}-{logical}{channel}"

    def partitions(self, logical: str) -> int:
        return PARTITIONS


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings(
        env={},
        flags={
            "dev": "true",
            "app.id": ENV["JB_APP"],
            "kafka.bootstrap.servers": ENV["JB_BROKER"],
            "worker.data_dir": ENV["JB_STATE"],
            "worker.web_port": "0",
            "worker.checkpoint_ms": ENV["JB_COMMIT_MS"],
        },
    )
    configure_logging(settings)
    topology = PeersTopology(settings)
    admin = AdminClient({"bootstrap.servers": ENV["JB_BROKER"]})
    changelog = NewTopic(
        topology.changelog("customers"), PARTITIONS, 1, config={"cleanup.policy": "compact"}
    )
    for future in admin.create_topics([changelog]).values():
        future.result(30)
    own = assembly.engine_config(settings)
    config = replace(own, cached_bytes=1 << 30, decoded=1_000_000)
    assembly.Topology = lambda _: topology  # the runner's names instead of the deployment's
    serve(
        lambda: assembly.build_app(
            settings, (JobStage(),), JobCodec(), lambda _: EMPTY, on_fatal=die, config=config
        )
    )


if __name__ == "__main__":
    main()
