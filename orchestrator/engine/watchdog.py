"""Against the typical failure of this architecture: assigned, no error, no progress."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.config import EngineConfig
from orchestrator.engine.ports import Reader
from orchestrator.engine.slots import Slot, Status
from orchestrator.errors import StalledError

DEAD_FACTOR = 4
"""A dead slot asks for its partition again and again, also through a broker's outage."""


def check(slot: Slot, reader: Reader, config: EngineConfig, mono: float) -> None:
    """Look at one slot; called in every turn of the loop while no rebalance is under way.

    Raises:
        StalledError: It has stood still for too long without saying why.
    """
    what, deadline = _look(slot, reader, config)
    if what is None or what != slot.seen:
        slot.seen, slot.since = what, mono
    elif mono - slot.since > deadline:
        raise StalledError(f"{slot.id} stands still: {what[0]}")


def _look(slot: Slot, reader: Reader, config: EngineConfig) -> tuple[Any, float]:
    """Return (a value that stays the same during a stall; None = fine, deadline)."""
    match slot.status:
        case Status.OPENING:
            return None, 0.0  # has deadlines of its own, and says what it waits for
        case Status.DEAD:
            return ("dead", 0), config.start_deadline * DEAD_FACTOR
        case Status.SUSPENDED | Status.CLOSED:
            return (slot.status.value, 0), config.start_deadline
        case Status.RUNNING:
            return _look_at_running(slot, reader, config)


def _look_at_running(slot: Slot, reader: Reader, config: EngineConfig) -> tuple[Any, float]:
    core = slot.core
    if core is None or core.blocked is not None:
        return None, 0.0  # it waits for something that has a name
    if not slot.throttled and not reader.active(slot.id):
        return ("not fetched", 0), config.start_deadline
    if core.waiting:
        return ("no progress", core.total, core.snapshots, core.meta.seq), config.progress_deadline
    return None, 0.0
