"""``sources/*.yaml`` at work: bytes of files and webhooks -> records -> Events. Pure but for files."""

from orchestrator.sources.mappings.mapper import Arrival, Mapper

__all__ = ["Arrival", "Mapper"]
