"""Stages without Kafka: one partition's log in memory, on a virtual clock.

``Harness`` runs one stage exactly as the engine does: log time is monotone; before a record is
applied, every timer due at or before its time fires, each at its own due instant, in (due, key)
order; a catalog switch brings a state up to date before its next record or timer. ``Pipeline`` puts
identify and decide behind each other as the log clock mode does with one partition per topic:
every output carries the log time of its cause, and what goes back to a topic comes behind all that
was appended so far.

``journeys test``, ``simulate`` and the property tests stand on these two; nothing here knows bytes.
What a stage refuses (``PoisonError``) is kept as a dead letter; a bug in a stage is raised, not hidden.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from orchestrator.errors import PoisonError
from orchestrator.records import Forget
from orchestrator.stages.protocol import Emit, Input, Stage, State

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog

S = TypeVar("S", bound=State)


class Output(NamedTuple):
    """One record that left a stage, with the log time (epoch ms) of its cause."""

    at: int
    emit: Emit


class DeadLetter(NamedTuple):
    """One input that a stage refused, with the cause that stands in its headers."""

    at: int
    item: Input
    cause: str
    text: str


class _Known(NamedTuple):
    catalog: Catalog
    at: int


class Harness(Generic[S]):
    """One stage on one partition. All instants are epoch ms."""

    def __init__(self, stage: Stage[S], catalog: Catalog, now: int = 0) -> None:
        self.stage = stage
        self.now = now
        self.states: dict[str, S] = {}
        self.dead_letters: list[DeadLetter] = []
        self._catalogs = [_Known(catalog, now)]
        self._timers: list[tuple[int, str]] = []
        self._armed: dict[str, int] = {}

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self._catalogs[-1].catalog

    @property
    def next_due(self) -> int:
        """Instant of the earliest timer; 0 = none."""
        while self._timers:
            due, key = self._timers[0]
            if key in self.states and self.states[key].due == due:
                return due
            heapq.heappop(self._timers)
        return 0

    def put(self, key: str, state: S) -> None:
        """Lay a state down as if the log had made it, in the light of the catalog in force."""
        state.catalog = len(self._catalogs)
        self._keep(key, state)

    def append(self, item: Input, at: int) -> list[Output]:
        """Append one record with log time ``at``; return what the timers before it and it emit."""
        outputs = self.advance(at)
        try:
            key = self.stage.key(item)
        except PoisonError as error:
            self._refuse(item, error)
            return outputs
        state = self.states.get(key)
        before = self.stage.encode(state) if state else None
        if state is None:
            state = self.stage.new(key)
            state.catalog = len(self._catalogs)
        try:
            emits = self.stage.apply(key, state, item, self.now, self.catalog)
        except PoisonError as error:
            self._refuse(item, error)
            if before is not None:
                self.states[key] = self.stage.decode(before)
            return outputs
        self._keep(key, state)
        if isinstance(item.record, Forget) and not self.stage.encode(state):
            del self.states[key]
        outputs.extend(Output(self.now, emit) for emit in emits)
        return outputs

    def advance(self, to: int) -> list[Output]:
        """Let log time reach ``to`` as a tick does; return what its timers emit."""
        outputs: list[Output] = []
        while (due := self.next_due) and due <= to:
            _, key = heapq.heappop(self._timers)
            state = self.states[key]
            at = max(due, self._catalogs[-1].at)
            self.now = max(self.now, at)
            emits = self.stage.fire(key, state, at, self.catalog)
            if 0 < state.due <= at:
                raise RuntimeError(f"{key!r} fired at {at}, yet due at {state.due} again")
            self._keep(key, state)
            outputs.extend(Output(at, emit) for emit in emits)
        self.now = max(self.now, to)
        return outputs

    def switch(self, catalog: Catalog, at: int) -> list[Output]:
        """Append a Catalog record; every state is brought up to date at once, in key order.

        Customers are independent, so this gives each the history that the engine's sweep gives.
        """
        outputs = self.advance(at)
        self._catalogs.append(_Known(catalog, self.now))
        old = self._catalogs[-2].catalog
        for key in sorted(self.states) if self.stage.sweeps else ():
            state = self.states[key]
            emits = self.stage.switch(key, state, old, catalog, self.now)
            state.catalog = len(self._catalogs)
            self._keep(key, state)
            outputs.extend(Output(self.now, emit) for emit in emits)
        return outputs

    def _keep(self, key: str, state: S) -> None:
        self.states[key] = state
        if state.due and state.due != self._armed.get(key):
            heapq.heappush(self._timers, (state.due, key))
        self._armed[key] = state.due

    def _refuse(self, item: Input, error: PoisonError) -> None:
        self.dead_letters.append(DeadLetter(self.now, item, error.cause, str(error)))
