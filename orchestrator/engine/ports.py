"""What the engine's core needs from outside, and what it hands out: protocols and plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct

from orchestrator.engine.meta import Meta
from orchestrator.records import CatalogSwitch, Record
from orchestrator.stages.catalog import Catalog
from orchestrator.stages.protocol import Emit, LogicalTopic

Headers = Sequence[tuple[str, bytes]]


class TaskId(NamedTuple):
    """One stage on one partition."""

    stage: str
    partition: int

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}"


class LogRecord(Protocol):
    """A fetched record; aiokafka's ``ConsumerRecord`` fits as it is."""

    @property
    def offset(self) -> int:
        """Position in its partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Epoch ms; on the timeline the broker's append time."""
        ...

    @property
    def key(self) -> bytes | None:
        """None with a value of None: a tick."""
        ...

    @property
    def value(self) -> bytes | None:
        """The bytes as they lie in the log."""
        ...

    @property
    def headers(self) -> Headers:
        """Names may repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Everything of one source partition in [begin, end), as one fetch brought it.

    ``epoch`` is the number of the reader's seek that this chunk follows; chunks of earlier seeks
    are dropped. ``generation`` is the consumer group's.
    """

    topic: str
    partition: int
    begin: int
    end: int
    records: Sequence[LogRecord]
    generation: int = 0
    epoch: int = 0


class DecisionTally(NamedTuple):
    """What a decision is counted as, once it has committed."""

    journey: str
    outcome: str
    reason: str


class ActionTally(NamedTuple):
    """What an action is counted as. ``timer``: a timer caused it, not an event."""

    channel: str
    kind: str
    timer: bool


class MergeTally(NamedTuple):
    """Two customers turned out to be one."""


class DeadTally(NamedTuple):
    """What a dead letter is counted as; ``role`` is the stage."""

    role: str
    cause: str


class Output(Struct, frozen=True, gc=False):
    """One record that leaves with the next transaction.

    Thousands wait for it, so the garbage collector shall not walk through them (``gc``).
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int
    """Log time of the cause, epoch ms."""
    tally: DecisionTally | ActionTally | MergeTally | DeadTally | None = None
    """What it counts as when it has committed; None = nothing."""


class StateWrite(NamedTuple):
    """One state of a snapshot. ``value`` begins with ``due``; None deletes."""

    key: bytes
    value: bytes | None
    former_due: int
    """As the store has it: the index entry to remove; 0 = none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one transaction commits: states, outputs, and ``meta`` as the last record."""

    states: list[StateWrite]
    outputs: list[Output]
    meta: Meta
    stale: list[bytes] = field(default_factory=list)
    """Timer index entries that were superseded."""
    fired: Sequence[int] = ()
    """Due instants of the timers that fired."""


class Store(Protocol):
    """One task's local copy: states, the timer index, the meta record. Bytes only."""

    intact: bool
    """Whether it was closed in order and is as it was, or has been verified since."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the state's value."""
        ...

    def keys(self, start: bytes) -> Iterator[bytes]:
        """Yield the keys of all states from ``start`` on, in order."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all states."""
        ...

    def timers(self, start: bytes) -> Iterator[bytes]:
        """Yield index entries (``due`` + key) from ``start`` on, in order."""
        ...

    def meta(self) -> bytes | None:
        """Return the meta record as last written."""
        ...

    def size(self) -> tuple[int, int]:
        """Return (states, bytes), estimated: for metrics."""
        ...

    def write(self, states: Sequence[StateWrite], meta: bytes, stale: Sequence[bytes] = ()) -> None:
        """Write states, index and meta in one batch."""
        ...

    def close(self) -> None:
        """Release the directory; harmless when repeated."""
        ...


class ChangelogRecord(NamedTuple):
    """``value`` None is a tombstone."""

    offset: int
    key: bytes
    value: bytes | None


class Changelog(Protocol):
    """One task's changelog partition and its transactional producer."""

    def fence(self, cancelled: Callable[[], bool]) -> None:
        """Shut out the former owner and settle its open transaction."""
        ...

    def bounds(self) -> tuple[int, int]:
        """Return (first offset, high watermark); never the last stable offset."""
        ...

    def source_bounds(self) -> tuple[int, int]:
        """The same for the stage's input partition."""
        ...

    def source_committed(self) -> int:
        """Return what the group has committed of the input; below 0 = nothing."""
        ...

    def read(
        self, start: int, end: int, cancelled: Callable[[], bool]
    ) -> Iterator[Sequence[ChangelogRecord]]:
        """Yield committed records of [start, end) in batches; ends only when ``end`` is reached.

        Raises:
            ChangelogStuck: Somebody's open transaction keeps the end out of sight.
        """
        ...

    def commit(self, snapshot: Snapshot) -> int:
        """Write one transaction; return the changelog offset after its meta record.

        Raises:
            FencedError: Another owner has taken over.
            TransactionFailed: The outcome is unknown. This producer must not be used again.
        """
        ...

    def close(self) -> None:
        """Destroy the producer without a flush; harmless when repeated."""
        ...


class Reader(Protocol):
    """The fetching side of the consumer group, as far as the engine steers it."""

    async def seek(self, task: TaskId, position: int) -> bool:
        """Continue at ``position``; False: the partition is no longer ours."""
        ...

    def pause(self, task: TaskId) -> None:
        """Fetch no more of it for now."""
        ...

    def resume(self, task: TaskId) -> None:
        """Fetch it again."""
        ...

    def active(self, task: TaskId) -> bool:
        """Whether it is being fetched."""
        ...

    async def still_ours(self, task: TaskId, position: int) -> bool:
        """Ask the group: commit ``position`` with the current generation."""
        ...

    def end(self, task: TaskId) -> int | None:
        """Return the input's end (high watermark) as of the last fetch; None = not known."""
        ...


class TickSender(Protocol):
    """Appends ticks."""

    def send(self, task: TaskId, done: Callable[[int | None, int], None]) -> None:
        """Append a tick; ``done`` gets (offset, log time), or (None, 0) if it failed."""
        ...

    def poll(self) -> None:
        """Let acknowledgements in."""
        ...


class Codec(Protocol):
    """Records to bytes and back; never on the network, except ``load``."""

    def encode(self, record: Record, topic: str) -> bytes:
        """Return the value as it goes to ``topic``."""
        ...

    def decode(self, value: bytes) -> Record:
        """Return the record.

        Raises:
            DecodeError: These bytes are no record of ours.
            UnavailableError: The schema is not here yet; it has a ``schema_id`` for ``load``.
        """
        ...

    def load(self, schema_id: int) -> object:
        """Fetch a schema; blocks."""
        ...


class Envelope(Protocol):
    """What travels in headers."""

    def write(self, emit: Emit, original: Headers) -> list[tuple[str, bytes]]:
        """Return the headers of an emitted record; ``original`` are those of its cause."""
        ...

    def read(self, headers: Headers) -> tuple[bool, str | None]:
        """Return (backfill, traceparent)."""
        ...


class TopicNames(Protocol):
    """Logical topic -> topic."""

    def __call__(self, logical: LogicalTopic | str, channel: str = "") -> str:
        """Return the topic's name."""
        ...


FindSkip = Callable[[str, int, int, bytes | None, int], tuple[str | None, int]]
"""(topic, partition, offset, index entry of a timer in front of it or None, from where to search) ->
(reason of the order to pass over it; None = there is none, how far the search came). Blocks."""

ResolveCatalog = Callable[[CatalogSwitch], Catalog]
"""Compiles the catalog that a switch names; raises DefinitionMissing. Runs in a thread."""
