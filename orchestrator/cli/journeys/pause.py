"""Pause a journey: no new entries, waits run on, sends are held."""

from __future__ import annotations

from orchestrator.cli.journeys._verb import status_verb

command = status_verb(
    "pause",
    "paused",
    """Pause the journey NAME: entries are refused, waits run on, sends are held until `resume`.

    A held send still expires when its message says so.
    """,
)
