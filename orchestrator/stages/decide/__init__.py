"""Stage decide: what happens next for one customer, if anything."""

from orchestrator.stages.decide.stage import Decide

__all__ = ["Decide"]
