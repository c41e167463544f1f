"""Mappings of sources: those that come with the product, and samples through any."""

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(
    __name__,
    __path__,
    name="sources",
    help="See mappings that come with us; try mappings on samples.",
)
