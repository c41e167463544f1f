"""A partition that is held in front of a record or timer at which its worker died again and again.

It waits for an operator. His order is a `Skip` record in the same partition of the same topic, so
the log still tells all. What is passed over becomes a dead letter; whoever runs the log again
passes over what those tell of.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from orchestrator.engine.decoding import Blocked
from orchestrator.engine.marks import DEATHS, SWEEP
from orchestrator.engine.ports import FindSkip
from orchestrator.engine.timers import due_of, key_of
from orchestrator.errors import PoisonError, UnavailableError


def no_skip(
    _topic: str, _partition: int, _offset: int, _timer: bytes | None, start: int
) -> tuple[None, int]:
    """Nobody gave an order."""
    return None, start


class Skipped(PoisonError):  # noqa: N818 - reads as a state, not as an error
    """An operator ordered it."""

    cause = "skipped"


@dataclass(frozen=True, slots=True)
class Skips:
    """What operators have passed over in one partition, with their reasons."""

    records: dict[int, str] = field(default_factory=dict)
    """By offset."""
    timers: dict[bytes, str] = field(default_factory=dict)
    """By index entry."""


class Hold:
    """Where a task must not go on by itself, and what is known of an order to pass over it."""

    def __init__(
        self, topic: str, partition: int, offset: int, find: FindSkip, timer: bytes | None = None
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timer = timer
        """Index entry of the timer that is meant; None = the record itself."""
        self.order: str | None = None
        """The operator's reason, once the order has been found."""
        self._find = find
        self._searched = offset + 1

    def __str__(self) -> str:
        if self.timer == SWEEP:
            return (
                f"the worker died {DEATHS} times while it brought the states of {self.topic} "
                f"[{self.partition}] to a new catalog: nothing of it is passed over. Run a version "
                f"that can, then remove the partition's file below `marks` and restart"
            )
        what, which = "record", ""
        if self.timer is not None:
            key = shlex.quote(key_of(self.timer).decode(errors="replace"))
            due = due_of(self.timer)
            what, which = "timer", f" --timer {key} --due {due}"
        before = f"a timer of {key} in front of " if which else ""
        return (
            f"the worker died {DEATHS} times at {before}{self.topic} [{self.partition}] offset "
            f"{self.offset}: correct the cause, or pass over the {what} with `orchestrator state "
            f"skip {self.topic} {self.partition} {self.offset}{which} --reason WHY`"
        )

    def search(self) -> None:
        """Look for the order. Blocks.

        Raises:
            UnavailableError: There is none yet.
        """
        self.order, self._searched = self._find(
            self.topic, self.partition, self.offset, self.timer, self._searched
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
