"""See a message as a customer would get it."""

from __future__ import annotations

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(__name__, __path__, help=__doc__)
