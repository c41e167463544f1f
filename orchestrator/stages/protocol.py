"""What a stage is: a pure function over one partition's ordered log, with its timers as data.

A stage does no I/O, reads no clock, logs nothing, and draws no randomness that is not derived from
stable ids. The engine, ``journeys test``, ``simulate``, ``replay`` and the property tests all drive
it through this protocol and through nothing else.

One input touches one state: ``key()`` names it. The engine decodes, applies, and persists
``due (8 bytes, big-endian) + encode(state)``; the first byte of ``encode`` is the state version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

if TYPE_CHECKING:
    from orchestrator.records import Absorb, Event, Forget, Link, Merge, Model, Record
    from orchestrator.stages.catalog import Catalog

S = TypeVar("S", bound="State")
S_contra = TypeVar("S_contra", bound="State", contravariant=True)
LogicalTopic = Literal["events", "timeline", "actions", "decisions", "outcomes", "models"]


class Input(Struct, kw_only=True, gc=False):
    """One decoded record of the log, addressed to one key.

    ``raw`` is the value as it lies in the log, for passing through untouched. Ticks, catalogs and
    skips never get here: they belong to the engine.
    """

    key: str
    record: Event | Link | Merge | Absorb | Forget | Model
    raw: bytes = b""
    backfill: bool = False
    trace: str | None = None
    partition: int = 0
    partitions: int = 1


class Emit(Struct, kw_only=True, gc=False):
    """One record that leaves a stage, in the transaction that carries its cause's state change.

    Exactly one of ``record`` (encoded by the engine) and ``raw`` (passed through) is given.
    ``channel`` goes with topic ``actions`` only.
    """

    topic: LogicalTopic
    key: str
    record: Record | None = None
    raw: bytes | None = None
    channel: str = ""
    backfill: bool = False
    trace: str | None = None


class State(Protocol):
    """What the engine reads of a state; everything else is the stage's own."""

    due: int
    """Instant (epoch ms) of the earliest timer; 0 = none."""
    catalog: int
    """Ordinal, in its partition's log, of the catalog in whose light the state stands; 0 = none."""


class Stage(Protocol[S]):
    """See the module docstring. ``now`` is log time: epoch ms, never less than before."""

    @property
    def name(self) -> str:
        """Name of the stage: group, transactional ids, metrics."""
        ...

    @property
    def source(self) -> LogicalTopic:
        """Logical name of the topic that it reads."""
        ...

    @property
    def table(self) -> str:
        """Name of its table."""
        ...

    @property
    def sweeps(self) -> bool:
        """Whether a new catalog must be brought to every state (``switch``), also to the silent ones."""
        ...

    def key(self, item: Input) -> str:
        """Return the key of the state that ``item`` concerns.

        Raises:
            InputError: The record breaks a rule; it becomes a dead letter.
        """
        ...

    def new(self, key: str) -> S:
        """Return the state of a key that was never seen; ``due`` 0."""
        ...

    def encode(self, state: S) -> bytes:
        """Return version byte + MessagePack; a function of the state alone.

        Empty: there is nothing to keep, the row is deleted.
        """
        ...

    def decode(self, data: bytes) -> S:
        """Inverse of ``encode``, also for every earlier version.

        Raises:
            UnavailableError: The bytes come from a newer version: wait for the upgrade.
        """
        ...

    def apply(self, key: str, state: S, item: Input, now: int, catalog: Catalog) -> list[Emit]:
        """Apply one record; the state is changed in place.

        Raises:
            PoisonError: The record becomes a dead letter with this cause. Any other exception is a
                bug and does the same; either way the engine restores the former state.
        """
        ...

    def fire(self, key: str, state: S, now: int, catalog: Catalog) -> list[Emit]:
        """Fire every timer with due <= ``now``; leaves ``state.due`` later than ``now`` or 0."""
        ...

    def switch(self, key: str, state: S, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        """Bring a state from one catalog to the next, as of log time ``at``."""
        ...


@runtime_checkable
class GivesUp(Protocol[S_contra]):
    """A stage that can do without what was due: its state has timers that do not hang together."""

    def give_up(self, key: str, state: S_contra, now: int, catalog: Catalog) -> list[Emit]:
        """Give up what was due at ``now`` after ``fire`` raised; the other timers stay.

        Leaves ``state.due`` later than ``now`` or 0.
        """
        ...
