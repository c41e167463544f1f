"""Identify and decide behind each other, as the log clock mode runs them: one partition each.

Every record carries the log time of its cause, and what goes back to a topic comes behind all that
was appended so far. A record passes through both stages before the next one is appended, so there is
one order, and it is the one that a sorted file gives through real topics.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from orchestrator.errors import InputError
from orchestrator.sources.identities import IdentityKinds
from orchestrator.stages.decide import Decide
from orchestrator.stages.identify import Identify
from orchestrator.stages.protocol import Input
from orchestrator.testing.harness import DeadLetter, Harness, Output

if TYPE_CHECKING:
    from orchestrator.records import Event
    from orchestrator.stages.catalog import Catalog


class _Due(NamedTuple):
    """One record on its way to a stage."""

    stage: Harness[Any]
    item: Input
    at: int


class Pipeline:
    """The pure part of the product on one virtual clock (epoch ms).

    Args:
        catalog: The catalog in force from the beginning.
        now: Where log time begins.
        assume_accepted: Every action is answered by its ``message.accepted`` receipt at once.
    """

    def __init__(self, catalog: Catalog, now: int = 0, *, assume_accepted: bool = True) -> None:
        self.identify = Harness(Identify(), catalog, now)
        self.decide = Harness(Decide(assume_accepted=assume_accepted), catalog, now)
        self._unkeyed: list[DeadLetter] = []
        self._kinds = _kinds(catalog)
        self._due: deque[_Due] = deque()

    @property
    def now(self) -> int:
        """Log time of the timeline."""
        return self.decide.now

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What was refused, by whichever stage."""
        return [*self._unkeyed, *self.identify.dead_letters, *self.decide.dead_letters]

    def append(self, event: Event, at: int, *, backfill: bool = False) -> list[Output]:
        """Append an event to the topic events; return what leaves: actions, decisions, outcomes."""
        item = Input(key="", record=event, backfill=backfill)
        try:
            item.key = self._kinds.key(event.identities)
        except InputError as error:
            self._unkeyed.append(DeadLetter(at, item, error.cause, str(error)))
            return self.advance(at)
        self._due.append(_Due(self.identify, item, at))
        return self._drain()

    def advance(self, to: int) -> list[Output]:
        """Let log time reach ``to`` on both topics, as the driver's ticks do."""
        left = self._route(self.identify.advance(to))
        left += self._drain()
        left += self._route(self.decide.advance(to))
        return left + self._drain()

    def switch(self, catalog: Catalog, at: int) -> list[Output]:
        """Append a Catalog record to both topics."""
        self._kinds = _kinds(catalog)
        left = self._route(self.identify.switch(catalog, at))
        left += self._route(self.decide.switch(catalog, at))
        return left + self._drain()

    def _drain(self) -> list[Output]:
        left: list[Output] = []
        while self._due:
            stage, item, at = self._due.popleft()
            left += self._route(stage.append(item, at), item)
        return left

    def _route(self, outputs: list[Output], cause: Input | None = None) -> list[Output]:
        """Put what goes back to a topic behind all that waits; return the rest."""
        left: list[Output] = []
        for output in outputs:
            at, emit = output
            match emit.topic:
                case "events":
                    stage: Harness[Any] = self.identify
                case "timeline":
                    stage = self.decide
                case _:
                    left.append(output)
                    continue
            record = emit.record
            if record is None and cause is not None:  # the value passes through untouched
                record = cause.record
            item = Input(
                key=emit.key,
                record=cast("Event", record),
                backfill=emit.backfill,
                trace=emit.trace,
            )
            self._due.append(_Due(stage, item, at))
        return left


def _kinds(catalog: Catalog) -> IdentityKinds:
    return IdentityKinds(catalog.identities.primary, catalog.identities.also)
