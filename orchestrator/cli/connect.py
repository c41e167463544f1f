"""Take events from topics that exist already."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.settings import Settings


@click.command()
@click.pass_obj
def command(session: Session) -> None:
    """Turn records of existing topics into events, through the applied mappings; until stopped.

    Reads every `topic:` of sources/*.yaml in force: Avro of the registry, JSON, CloudEvents,
    Debezium. Start it more than once: partitions are shared. An offset is committed only when
    Kafka has the events.

    \b
    orchestrator sources test sources/billing.yaml --sample records.ndjson
    orchestrator journeys apply DIR
    orchestrator connect
    """  # noqa: D301 - click's mark for lines that stay lines
    import uvloop

    uvloop.run(_connect(session.settings))


async def _connect(settings: Settings) -> None:
    from orchestrator.sources.connect.connector import run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)
