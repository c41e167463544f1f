"""One customer: what is known of them, what was decided and why."""

from __future__ import annotations

from orchestrator.cli.lazy import LazyGroup

command = LazyGroup(__name__, __path__, help=__doc__)
