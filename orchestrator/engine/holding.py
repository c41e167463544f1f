"""A partition that is held in front of a record at which its worker died again and again.

It waits for an operator. His order is a `Skip` record in the same partition of the same topic, so
the log still tells all; whoever runs the log again must look for it, too. The record that is
passed over becomes a dead letter.
"""

from __future__ import annotations

from orchestrator.engine.decoding import Blocked
from orchestrator.engine.marks import DEATHS
from orchestrator.engine.ports import FindSkip
from orchestrator.errors import PoisonError, UnavailableError


def no_skip(_topic: str, _partition: int, _offset: int, start: int) -> tuple[None, int]:
    """Nobody gave an order."""
    return None, start


class Skipped(PoisonError):  # noqa: N818 - reads as a state, not as an error
    """An operator ordered it."""

    cause = "skipped"


class Hold:
    """Where a task must not go on by itself, and what is known of an order to pass over it."""

    def __init__(self, topic: str, partition: int, offset: int, find: FindSkip) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.order: str | None = None
        """The operator's reason, once the order has been found."""
        self._find = find
        self._searched = offset + 1

    def __str__(self) -> str:
        return (
            f"the worker died {DEATHS} times at {self.topic} [{self.partition}] offset "
            f"{self.offset} (at the record or a timer due in front of it): correct the cause, or "
            f"pass over the record with `orchestrator state skip {self.topic} {self.partition} "
            f"{self.offset} --reason WHY`"
        )

    def search(self) -> None:
        """Look for the order. Blocks.

        Raises:
            UnavailableError: There is none yet.
        """
        self.order, self._searched = self._find(
            self.topic, self.partition, self.offset, self._searched
        )
        if self.order is None:
            raise UnavailableError(str(self))


class Held(Blocked):
    """The task stands in front of its hold."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(UnavailableError(str(hold)))
        self._hold = hold

    def remedy(self) -> None:
        """Look for an order."""
        self._hold.search()
