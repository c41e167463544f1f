"""Send one channel's actions: ``deliver CHANNEL``."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.settings import Settings


@click.command()
@click.argument("channel")
@click.pass_obj
def command(session: Session, channel: str) -> None:
    """Send the actions of CHANNEL with the sender that the settings name; runs until stopped.

    SIGTERM or Ctrl-C lets sends in flight come to an end first. The senders and their settings:
    deploy/README.md.

    Example: orchestrator deliver email
    """
    import uvloop

    uvloop.run(_deliver(session.settings, channel))


async def _deliver(settings: Settings, channel: str) -> None:
    from orchestrator.sinks.deliver import Deliver

    worker = Deliver(settings, channel)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)
    await worker.run()
