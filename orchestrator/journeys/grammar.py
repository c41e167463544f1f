"""The grammar of 2-semantics 2.1, word for word.

Everything about keys, forms and defaults is in the modules that this one joins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrator.journeys.grammar_edges import SOURCE, TEST
from orchestrator.journeys.grammar_journeys import JOURNEY, MESSAGE
from orchestrator.journeys.grammar_policy import POLICY
from orchestrator.journeys.grammar_profile import EVENTS, PROFILE
from orchestrator.journeys.shapes import Shape

KINDS: Final[Mapping[str, Shape]] = {
    "events": EVENTS,
    "profile": PROFILE,
    "policy": POLICY,
    "source": SOURCE,
    "message": MESSAGE,
    "journey": JOURNEY,
    "test": TEST,
}
