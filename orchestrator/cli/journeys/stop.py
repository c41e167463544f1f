"""Stop a journey: whoever is inside leaves at once."""

from __future__ import annotations

from orchestrator.cli.journeys._verb import status_verb

command = status_verb(
    "stop",
    "stopped",
    """Stop the journey NAME: every entry ends now, held sends are cancelled, nobody enters.

    This cannot be taken back: `resume` lets new customers in, not the former ones.
    """,
)
