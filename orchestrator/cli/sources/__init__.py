"""Try mappings of sources."""

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(__name__, __path__, name="sources", help="Try mappings of sources.")
