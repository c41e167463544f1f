"""Look at the stages' states, repair them, pass over a record."""

from __future__ import annotations

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(__name__, __path__, help=__doc__)
