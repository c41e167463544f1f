"""Stage identify: which customer is this event about?"""

from orchestrator.stages.identify.stage import Identify

__all__ = ["Identify"]
