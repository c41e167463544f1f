"""What each stage did since the process began, over slots that come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.engine.processor import Counters
from orchestrator.engine.slots import Slot
from orchestrator.errors import FencedError


@dataclass(slots=True)
class StageTotals:
    """One stage."""

    counters: Counters = field(default_factory=Counters)
    cpu: float = 0.0
    """Seconds, of the loop and of the threads that commit."""
    replayed: int = 0
    """Changelog records."""
    unknown: int = 0
    """Transactions whose outcome only the next owner's fence has settled."""
    fenced: int = 0
    """Transactions that another owner has shut out."""

    def add(self, slot: Slot) -> None:
        """Add what one slot did."""
        self.cpu += slot.cpu
        self.replayed += slot.progress.read
        if slot.core is not None:
            self.counters.add(slot.core.processor.counters)


class Totals:
    """Counters go on when a slot is closed or opened again."""

    def __init__(self, stages: Iterable[str]) -> None:
        self.reopened = 0
        """Partitions opened again after their death."""
        self._past = {name: StageTotals() for name in stages}

    def retire(self, slot: Slot) -> None:
        """A slot is being closed; to be called once, while it still has its core."""
        self._past[slot.id.stage].add(slot)

    def died(self, slot: Slot, error: BaseException) -> None:
        """A transaction has failed."""
        past = self._past[slot.id.stage]
        if isinstance(error, FencedError):
            past.fenced += 1
        else:
            past.unknown += 1

    def now(self, slots: Iterable[Slot]) -> dict[str, StageTotals]:
        """Return everything up to now; ``slots`` are those that are open."""
        found = {
            name: StageTotals(one.counters.copy(), one.cpu, one.replayed, one.unknown, one.fenced)
            for name, one in self._past.items()
        }
        for slot in slots:
            found[slot.id.stage].add(slot)
        return found
