"""Resume a journey that was paused, is draining or was stopped."""

from __future__ import annotations

from orchestrator.cli.journeys._verb import status_verb

command = status_verb(
    "resume",
    "live",
    """Put the journey NAME live again: it takes entries, and held sends go out if they still may.

    After `stop` nobody is left in it: it begins anew with new entries.
    """,
)
