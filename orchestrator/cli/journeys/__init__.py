"""Lint, test and apply journeys."""

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(__name__, __path__, name="journeys", help="Lint, test and apply journeys.")
