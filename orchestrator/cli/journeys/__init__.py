"""Lint, test, draw and apply journeys; see, pause and stop those in force."""

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(
    __name__,
    __path__,
    name="journeys",
    help="Lint, test, draw and apply journeys; see, pause and stop those in force.",
)
