"""Drain a journey: no new entries, those inside walk on to their end."""

from __future__ import annotations

from orchestrator.cli.journeys._verb import status_verb

command = status_verb(
    "drain",
    "draining",
    """Let the journey NAME run dry: entries are refused, customers inside walk on to the end.

    `journeys status` says how many are left.
    """,
)
