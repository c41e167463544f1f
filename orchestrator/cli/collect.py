"""Take events and webhooks in over HTTP, and serve the in-app inbox."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.settings import Settings


@click.command()
@click.option("--host", help="Address to listen at.")
@click.option("--port", type=int, help="Port to listen at; 0 = any free one.")
@click.pass_obj
def command(session: Session, host: str | None, port: int | None) -> None:
    """Serve Segment's tracking API in front of the events topic; runs until stopped.

    POST /v1/webhooks/NAME takes webhooks: of NAME in sources/*.yaml, or of a provider that comes with us
    (`orchestrator sources show`), once `collector.webhooks.NAME` says how they prove themselves.

    With `collector.inbox_secret` also the in-app inbox: GET /v1/inbox/TOKEN, GET
    /v1/inbox/TOKEN/stream (server-sent events) and POST /v1/inbox/TOKEN/read.

    Example: orchestrator collect --port 8080
    """
    session.set("collector.host", host)
    session.set("collector.port", port)
    import uvloop

    uvloop.run(_collect(session.settings))


async def _collect(settings: Settings) -> None:
    from orchestrator.sources.collector import run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)
