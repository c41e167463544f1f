"""Whether each channel's sender can work with its settings, and finds its provider from here."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.cli.doctor._checks import Check, finding, note, ok
from orchestrator.errors import OrchestratorError
from orchestrator.sender_settings import SesSender, SmtpSender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.sender_settings import AnySender
    from orchestrator.settings import Settings

CONNECT_S: Final = 5.0


def senders(settings: Settings) -> Iterator[Check]:
    """Open each sender as ``deliver`` would, and knock at its provider's door; nothing is sent."""
    for channel, chosen in sorted(settings.deliver.items()):
        name = f"sender {channel}"
        kind = str(chosen.__struct_config__.tag)
        try:
            asyncio.run(_open(chosen))
        except OrchestratorError as error:
            yield finding(name, f"{kind}: {error}", f"mend deliver.{channel} in the settings")
            continue
        place = place_of(chosen)
        if place is None or _answers(*place):
            at = f" at {place[0]}:{place[1]}" if place else ""
            yield ok(name, f"{kind}{at}, on_unknown: {chosen.on_unknown}")
        else:
            yield note(
                name,
                f"{kind}: {place[0]}:{place[1]} cannot be reached from here",
                "look at name resolution and egress rules where `deliver` runs",
            )


def place_of(chosen: AnySender) -> tuple[str, int] | None:
    """Return host and port of a sender's provider; None: it has no one place."""
    if isinstance(chosen, SmtpSender):
        return chosen.host, chosen.port
    url = getattr(chosen, "url", None)
    if isinstance(chosen, SesSender) and url is None:
        url = f"https://email.{chosen.region}.amazonaws.com"
    if url is None:
        return None
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _open(chosen: AnySender) -> None:
    from orchestrator.sinks.opening import OUTWARD

    if make := OUTWARD.get(type(chosen)):
        async with make(chosen):
            pass


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError:
        return False
    return True
