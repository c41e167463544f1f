"""What became of one attempt at a fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Injected:
    """``reached`` False: the moment never came, or this machine does not allow it; then no trial."""

    what: str = ""
    reached: bool = True
    takeover: float | None = None
    """Seconds until everything ran again, if the fault itself saw that."""
