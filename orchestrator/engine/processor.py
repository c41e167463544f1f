"""One stage on one partition: records, timers and sweeps become states and outputs.

Every input either counts completely (state, timers, outputs) or, when the stage raises, not at all:
then it leaves a dead letter. This is the second of the three places where poison is told from
absence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from orchestrator.engine import deadletters
from orchestrator.engine.catalogs import CatalogBook, Catalogs, Step
from orchestrator.engine.decoding import Blocked, Decoder
from orchestrator.engine.holding import Skipped
from orchestrator.engine.outputs import OutputEncoder
from orchestrator.engine.ports import Envelope, Headers, LogRecord, Output, Store, TaskId
from orchestrator.engine.states import Entry, Room, States
from orchestrator.engine.timers import Timers, due_of, key_of
from orchestrator.errors import (
    DecodeError,
    FatalError,
    InputError,
    JoinRefused,
    OversizeError,
    PoisonError,
    UnavailableError,
)
from orchestrator.observability import get_logger
from orchestrator.partitioning import partition_for
from orchestrator.records import (
    Absorb,
    CatalogSwitch,
    Event,
    Forget,
    Link,
    Merge,
    Model,
    Skip,
    Tick,
)
from orchestrator.stages.catalog import Catalog
from orchestrator.stages.protocol import Emit, GivesUp, Input, S, Stage

SAMPLE = 63
"""Of so many keys plus one, one is held against the partitioner."""
SAMPLED = 256
_log = get_logger(__name__)


@dataclass(slots=True)
class Counters:
    """What one task did since it was opened."""

    events: int = 0
    ticks: int = 0
    timers: int = 0
    swept: int = 0
    switches: int = 0
    misplaced: int = 0
    """Sampled keys that lay on another partition than their own."""
    dead: dict[str, int] = field(default_factory=dict)
    """Dead letters by cause."""

    def add(self, other: Counters) -> None:
        """Add what another task counted."""
        self.events += other.events
        self.ticks += other.ticks
        self.timers += other.timers
        self.swept += other.swept
        self.switches += other.switches
        self.misplaced += other.misplaced
        for cause, count in other.dead.items():
            self.dead[cause] = self.dead.get(cause, 0) + count

    def copy(self) -> Counters:
        """Return the same numbers, apart."""
        copied = Counters()
        copied.add(self)
        return copied


class CatalogAway(Blocked):
    """A Catalog record is reached, but its catalog has not been compiled yet."""

    def __init__(self, book: CatalogBook, switch: CatalogSwitch) -> None:
        super().__init__(UnavailableError(f"catalog {switch.catalog} is not compiled yet"))
        self._book = book
        self._switch = switch

    def remedy(self) -> None:
        """Compile it."""
        self._book.load(self._switch)


@dataclass(frozen=True, slots=True)
class Tools:
    """What all processors of a process share."""

    decoder: Decoder
    encoder: OutputEncoder
    envelope: Envelope
    book: CatalogBook
    max_state: int
    room: Room


class Processor(Generic[S]):
    """See the module docstring. Not aware of positions, log time order or transactions."""

    def __init__(
        self,
        task: TaskId,
        stage: Stage[S],
        source: str,
        partitions: int,
        tools: Tools,
        store: Store,
        states: States[S],
        timers: Timers,
        catalogs: Catalogs,
    ) -> None:
        self.states = states
        self.timers = timers
        self.catalogs = catalogs
        self.counters = Counters()
        self.dead_letters = 0
        """What speaks of a schema break upstream when there is much of it."""
        self.outputs: list[Output] = []
        self.sampled: deque[bytes] = deque(maxlen=SAMPLED)
        """The newest keys of the sample: whether one of them is hot."""
        self.stale: list[bytes] = []
        """Index entries found superseded."""
        self.erasing = False
        """Whether somebody was erased since the last snapshot."""
        self._task = task
        self._stage = stage
        self._source = source
        self._partitions = partitions
        self._tools = tools
        self._store = store
        # Bound once: this is the hot path.
        self._decode = tools.decoder.decode
        self._apply = stage.apply

    # ------------------------------------------------------------------------------ inputs

    def record(self, record: LogRecord, now: int) -> None:
        """Apply one record at log time ``now``; all timers due by then have fired.

        Raises:
            Blocked: Something must be waited for; nothing has been changed.
        """
        if record.key is None and not record.value:
            self.counters.ticks += 1
            return
        try:
            decoded = self._decode(record.value)
            match decoded:
                case Event() | Link() | Merge() | Absorb() | Forget():
                    item = self._input(record, decoded)
                    key = self._stage.key(item)
                    if not key or key.startswith("\0"):
                        raise InputError(f"{key!r} cannot be a key", cause="bad_key")
                case Tick():
                    self.counters.ticks += 1
                    return
                case CatalogSwitch():
                    self._switch(decoded, now)
                    return
                case Skip() | Model():
                    return
                case _:
                    name = type(decoded).__name__
                    raise DecodeError(f"{name} is no input of {self._task.stage}")
        except (PoisonError, UnicodeDecodeError) as poison:
            self._dead_record(record, now, poison)
            return
        entry = self._entry(key)
        if entry.state.catalog != self.catalogs.ordinal:
            self._catch_up(key, entry, now)
        self.counters.events += 1
        self.erasing |= isinstance(decoded, Forget)
        failed = self._attempt(
            key,
            entry,
            now,
            self._apply,
            (key, entry.state, item, now, self.catalogs.newest),
            record.headers,
        )
        if failed is not None:
            self._dead_record(record, now, failed)

    def skip(self, record: LogRecord, now: int, reason: str) -> None:
        """Pass over one record by an operator's order; it becomes a dead letter."""
        self._dead_record(record, now, Skipped(reason))

    def fire(self, timer: bytes) -> bool:
        """Fire one index entry; return whether it was still valid.

        Raises:
            Blocked: Something must be waited for; nothing has been changed.
        """
        due, key = due_of(timer), key_of(timer).decode()
        # A superseded entry must not bring its state to a new catalog: when depends on checkpoints.
        entry = self._entry(key)
        if entry.state.due == due:
            self._catch_up(key, entry, due)
        if entry.state.due != due:
            self.stale.append(timer)
            return False
        self._fire(key, entry, due, self.catalogs.newest)
        return True

    def skip_timer(self, timer: bytes, reason: str) -> bool:
        """Pass over one timer by an operator's order, as if the stage had raised.

        Returns whether it was still valid.

        Raises:
            Blocked: Something must be waited for; nothing has been changed.
        """
        due, key = due_of(timer), key_of(timer).decode()
        if (entry := self._entry(key)).state.due != due:
            self.stale.append(timer)
            return False
        self.counters.timers += 1
        self._give_up(key, entry, due, self.catalogs.newest, Skipped(reason))
        return True

    def sweep(self, budget: int, now: int) -> int:
        """Bring up to ``budget`` silent states to the newest catalog; return how many were seen."""
        catalogs = self.catalogs
        if catalogs.sweep is None or not catalogs.sweep_ready:
            return 0
        seen = 0
        for raw in self._store.keys(catalogs.sweep):
            if seen >= budget:
                catalogs.sweep = raw
                return seen
            self.bring(raw.decode(), now)
            seen += 1
        catalogs.swept()
        self.counters.swept += seen
        return seen

    def bring(self, key: str, now: int) -> None:
        """Bring one state to the newest catalog, as the sweep does when it comes to it.

        Raises:
            Blocked: Something must be waited for; nothing has been changed.
        """
        self._catch_up(key, self._entry(key), now)

    def take_outputs(self) -> tuple[list[Output], list[bytes]]:
        """Return the outputs and superseded index entries since the last time."""
        outputs, self.outputs = self.outputs, []
        # A timer may have been armed again for the very instant at which it was superseded.
        due_now = self.states.due_now
        stale = [x for x in self.stale if due_now(key_of(x).decode()) != due_of(x)]
        self.stale = []
        return outputs, stale

    # --------------------------------------------------------------------------- internals

    def _input(self, record: LogRecord, decoded: Event | Link | Merge | Absorb | Forget) -> Input:
        if record.key is None:
            raise InputError("a record without a key", cause="no_key")
        if not self.counters.events & SAMPLE and not isinstance(decoded, Forget):
            self._check_partition(record)  # an order to forget lies where its row is
            self.sampled.append(record.key)
        backfill, trace = self._tools.envelope.read(record.headers) if record.headers else _PLAIN
        return Input(
            key=record.key.decode(),
            record=decoded,
            raw=record.value or b"",
            backfill=backfill,
            trace=trace,
            partition=self._task.partition,
            partitions=self._partitions,
        )

    def _check_partition(self, record: LogRecord) -> None:
        """Alarm if a producer's partitioner is not ours: one key would have two states."""
        wanted = partition_for(record.key or b"", self._partitions)
        if wanted == self._task.partition:
            return
        self.counters.misplaced += 1
        if self.counters.misplaced & (self.counters.misplaced - 1) == 0:  # 1, 2, 4, 8, ...
            _log.error(
                "a key lies on the wrong partition: a producer does not use murmur2_random",
                topic=self._source,
                partition=self._task.partition,
                offset=record.offset,
                wanted=wanted,
                seen=self.counters.misplaced,
            )

    def _entry(self, key: str) -> Entry[S]:
        try:
            return self.states.get(key, self.catalogs.ordinal)
        except UnavailableError as newer:  # written by a later version of this program
            raise Blocked(newer) from newer

    def _catch_up(self, key: str, entry: Entry[S], until: int) -> None:
        """Bring a state to the newest catalog and to time ``until``."""
        catalogs = self.catalogs
        if entry.state.catalog == catalogs.ordinal or not self._stage.sweeps:
            return
        steps = list(catalogs.steps(entry.state.catalog))
        for index, step in enumerate(steps):
            self._bring(key, entry, step)
            later = steps[index + 1].at if index + 1 < len(steps) else until
            while 0 < entry.state.due <= later:
                self._fire(key, entry, max(entry.state.due, step.at), step.new)

    def _bring(self, key: str, entry: Entry[S], step: Step) -> None:
        def act() -> list[Emit]:
            emits = self._stage.switch(key, entry.state, step.old, step.new, step.at)
            entry.state.catalog = step.ordinal
            return emits

        self.counters.switches += 1
        failed = self._attempt(key, entry, step.at, act)
        if failed is not None:
            entry.state.catalog = step.ordinal
            self.states.accept(key, entry, self.states.value_of(entry.state))
            self._dead_key(key, "switch", step.at, failed)

    def _fire(self, key: str, entry: Entry[S], now: int, catalog: Catalog) -> None:
        """Fire one state's timers; afterwards it is due later than ``now`` or not at all."""
        stage = self._stage

        def act() -> list[Emit]:
            emits = stage.fire(key, entry.state, now, catalog)
            if 0 < entry.state.due <= now:
                raise RuntimeError(f"fired at {now}, yet due at {entry.state.due} again")
            return emits

        self.counters.timers += 1
        failed = self._attempt(key, entry, now, act)
        if failed is not None:
            self._give_up(key, entry, now, catalog, failed)

    def _give_up(
        self, key: str, entry: Entry[S], now: int, catalog: Catalog, failed: Exception
    ) -> None:
        stage = self._stage
        if not isinstance(stage, GivesUp) or self._attempt(
            key, entry, now, lambda: stage.give_up(key, entry.state, now, catalog)
        ):  # cleared, or it would fire for ever
            entry.state.due = 0
            self.states.accept(key, entry, self.states.value_of(entry.state))
        self._dead_key(key, "fire", now, failed)

    def _attempt(
        self,
        key: str,
        entry: Entry[S],
        now: int,
        act: Callable[..., list[Emit]],
        given: tuple[Any, ...] = (),
        original: Headers = (),
    ) -> Exception | None:
        """Let the stage act; on an error put its state back and return the error."""
        states, before = self.states, entry.state.due
        try:
            emits = act(*given)
            outputs = self._tools.encoder.encode(emits, now, original) if emits else None
            value = states.value_of(entry.state)
            if len(value) > self._tools.max_state:
                raise OversizeError(f"a state of {len(value)} bytes", cause="state_oversize")
        except UnavailableError as away:
            self.states.restore(key, entry, self.catalogs.ordinal)
            raise Blocked(away) from away
        except FatalError:
            raise  # ours, not the input's: a topic whose records were not prepared
        except Exception as error:  # noqa: BLE001 - a stage's bug must cost one input and no more
            self.states.restore(key, entry, self.catalogs.ordinal)
            return error
        due = entry.state.due
        if due and due != before:
            self.timers.arm(due, key.encode())
        states.accept(key, entry, value)
        if outputs:
            self.outputs += outputs
        return None

    def _switch(self, switch: CatalogSwitch, now: int) -> None:
        compiled = self._tools.book.get(switch)
        if compiled is None:
            raise CatalogAway(self._tools.book, switch)
        self.catalogs.add(switch, now, compiled)

    def _dead_record(self, record: LogRecord, now: int, error: BaseException) -> None:
        topic = self._tools.encoder.dead_letters
        self.outputs.append(
            deadletters.for_record(topic, self._source, self._task, record, error, now)
        )
        self._count_dead(error)

    def _dead_key(self, key: str, doing: str, at: int, error: BaseException) -> None:
        topic = self._tools.encoder.dead_letters
        self.outputs.append(
            deadletters.for_key(topic, self._source, self._task, key, doing, at, error)
        )
        self._count_dead(error)

    def _count_dead(self, error: BaseException) -> None:
        if not isinstance(error, JoinRefused):  # a poisoned identity must not hold a sound stage
            self.dead_letters += 1
        cause = deadletters.cause_of(error)
        self.counters.dead[cause] = self.counters.dead.get(cause, 0) + 1


_PLAIN: tuple[bool, str | None] = (False, None)
