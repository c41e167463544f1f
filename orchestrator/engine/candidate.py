"""What really happened beside what a candidate catalog would have done, over one recorded log.

Both share one life until ``since``: then a copy of all states goes on under the candidate, while the
original goes on as it did. Both read the same events and receipts; catalogs that were applied in
reality after ``since`` are not for the candidate.

A merge carries the loser's state from one partition to another by a record in the log. The
candidate's loser has another life by then, so that record is given the state which the candidate's
own run has exported; a partition waits at it until that has come about.

Where retention has cut the log, the run begins with the catalog that is in force today, and those who
are older than the log are left out: what they were entitled to when it began is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from orchestrator.codec import Codec
from orchestrator.codec.wire import PREFIX_BYTES
from orchestrator.comparing import SIDES, Side
from orchestrator.engine import meta as metas
from orchestrator.engine.audit import find_skips
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.engine import StageSpec
from orchestrator.engine.meta import CatalogMark, Meta
from orchestrator.engine.ports import Output, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.rerun import Rerun
from orchestrator.engine.simulated import SimulatedRecord
from orchestrator.engine.store import Stores
from orchestrator.errors import DecodeError
from orchestrator.kafka.decoding import decode_now
from orchestrator.kafka.reading import PartitionReader, headers_of, read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Absorb, CatalogSwitch, Decision
from orchestrator.stages.decide import state as customers

DUE_BYTES = 8
BATCH = 2_000
"""Records of one partition before the next one has its turn."""


@dataclass(slots=True)
class Course:
    """How a comparison went."""

    records: int = 0
    partitions: int = 0
    older: set[str] = field(default_factory=set)
    """Customers whose life began before the log that there still is: nobody knows their state then."""
    unsettled: set[str] = field(default_factory=set)
    """Customers who took in another one whose life under the candidate is not known."""


class CandidateRun:
    """See the module docstring.

    Args:
        topology: The deployment's topics.
        spec: The decide stage as the worker runs it.
        tools: As the worker's; its book also knows the candidate.
        codec: Reads and writes the log's records.
        config: As the worker's.
        folder: An empty folder for the states of both.
        since: Log time at which the candidate takes effect.
        today: The catalog in force by now.
        candidate: Gives the catalog that takes effect, from the one that is in force (or None).
        take: Gets every decision of either side from ``since`` on.
        progress: Told how many records have been run since the last call.
    """

    def __init__(
        self,
        topology: Topology,
        spec: StageSpec,
        tools: Tools,
        codec: Codec,
        config: EngineConfig,
        folder: Path,
        since: int,
        today: CatalogSwitch,
        candidate: Callable[[CatalogSwitch | None], CatalogSwitch],
        take: Callable[[Side, Decision], None],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.topology = topology
        self.spec = spec
        self.tools = tools
        self.codec = codec
        self.config = config
        self.stores = {side: Stores(folder / side) for side in SIDES}
        self.since = since
        self.today = today
        self.candidate = candidate
        self.take = take
        self.progress = progress
        self.course = Course()
        self.exports: dict[str, bytes | None] = {}
        """merge_id -> the loser's state under the candidate; None: exported before ``since``."""
        self.skips = find_skips(topology, spec.stage.name)
        self._kinds: dict[bytes, type] = {}

    def run(self) -> Course:
        """Run the whole log through both.

        Raises:
            UnavailableError: Kafka, the registry or a definition is away.
        """
        with ExitStack() as stack:
            waiting = [_Partition(self, number, stack) for number in range(self.spec.partitions)]
            self.course.partitions = len(waiting)
            while waiting:
                moved = [one.step() for one in waiting]
                waiting = [one for one in waiting if not one.done]
                if waiting and not any(moved):
                    waiting[0].give_in()
        return self.course

    def kind_of(self, value: bytes) -> type:
        """Return the type of a record; all records of one schema are decoded once."""
        head = value[:PREFIX_BYTES]
        found = self._kinds.get(head)
        if found is None:
            try:
                found = type(decode_now(self.codec, value))
            except DecodeError:
                return object
            self._kinds[head] = found
        return found


class _Partition:
    """One partition of both sides; lives as long as ``stack``."""

    def __init__(self, whole: CandidateRun, number: int, stack: ExitStack) -> None:
        spec = whole.spec
        self.done = False
        self._whole = whole
        self._number = number
        self._stack = stack
        self._timeline = spec.source
        self._decisions = whole.topology.name("decisions")
        reader = stack.enter_context(PartitionReader(whole.topology.settings, spec.source, number))
        self._first, self._end = reader.bounds()
        self._records = self._read(reader)
        self._next = next(self._records, None)
        if self._first > 0 and self._next is not None:
            self._begin_late(self._next.timestamp)
        self._actual = self._open("actual")
        self._candidate: Rerun | None = None

    def step(self) -> bool:
        """Run up to ``BATCH`` records; return whether anything moved."""
        whole = self._whole
        batch: list[SimulatedRecord] = []
        others: list[SimulatedRecord] = []
        while self._next is not None and len(batch) < BATCH:
            if self._candidate is None and self._next.timestamp >= whole.since:
                break
            if self._candidate is not None:
                other = self._for_candidate(self._next)
                if other is None:
                    break
                others.append(other)
            batch.append(self._next)
            self._next = next(self._records, None)
        end = batch[-1].offset + 1 if batch else 0
        self._actual.feed(batch, end)
        if self._candidate is not None:
            self._candidate.feed(others, end)
        whole.course.records += len(batch)
        whole.progress(len(batch))
        if self._candidate is None and (self._next is None or self._next.timestamp >= whole.since):
            self._fork()
            return True
        if self._next is None and self._candidate is not None:
            self._finish(self._candidate)
        return bool(batch) or self.done

    def give_in(self) -> None:
        """Take the merge at which this partition waits as it was in reality."""
        if self._next is not None and self._next.value is not None:
            record = decode_now(self._whole.codec, self._next.value)
            if isinstance(record, Absorb):
                self._whole.exports[record.merge_id] = None
                self._whole.course.unsettled.add((self._next.key or b"").decode())

    # -- the two lives --------------------------------------------------------------------------

    def _open(self, side: Side) -> Rerun:
        whole = self._whole
        rerun = Rerun(
            TaskId(whole.spec.stage.name, self._number),
            whole.spec,
            whole.tools,
            whole.config,
            whole.stores[side],
            self._first,
            lambda output: self._take(side, output),
            whole.skips.get(self._number),
        )
        self._stack.callback(rerun.close)
        return rerun

    def _begin_late(self, began: int) -> None:
        """The log has been cut: begin with today's catalog, and find out who is older."""
        whole, task = self._whole, TaskId(self._whole.spec.stage.name, self._number)
        mark = CatalogMark(began, whole.today)
        meta = Meta(position=self._first, log_time=began, first_ordinal=1, catalogs=[mark])
        store = whole.stores["actual"].open(task)
        store.write([], metas.encode(meta))
        store.close()
        changelog = whole.topology.changelog(whole.spec.stage.table)
        for message in read_partition(whole.topology.settings, changelog, self._number):
            key, value = message.key() or b"", message.value()
            if value and key != metas.META_KEY:
                customer = customers.decode(value[DUE_BYTES:])
                if customer.first_seen < began:
                    whole.course.older.add(key.decode())

    def _fork(self) -> None:
        whole, task = self._whole, TaskId(self._whole.spec.stage.name, self._number)
        self._actual.advance(whole.since)

        def change(marks: list[CatalogMark]) -> CatalogMark:
            switch = whole.candidate(marks[-1].switch if marks else None)
            return CatalogMark(self._actual.log_time, switch)

        self._actual.fork(task, whole.stores["candidate"], change)
        self._candidate = self._open("candidate")

    def _finish(self, candidate: Rerun) -> None:
        self._actual.bring_all()
        candidate.bring_all()
        self.done = True

    def _take(self, side: Side, output: Output) -> None:
        if output.topic == self._decisions and self._candidate is not None:
            record = decode_now(self._whole.codec, output.value or b"")
            older = self._whole.course.older
            if isinstance(record, Decision) and record.customer_id not in older:
                self._whole.take(side, record)
        elif output.topic == self._timeline and (side == "candidate" or self._candidate is None):
            record = decode_now(self._whole.codec, output.value or b"")
            if isinstance(record, Absorb):
                state = record.state if side == "candidate" else None
                self._whole.exports.setdefault(record.merge_id, state)

    # -- the log --------------------------------------------------------------------------------

    def _read(self, reader: PartitionReader) -> Iterator[SimulatedRecord]:
        time = 0
        for message in reader.read(self._end):
            time = max(time, message.timestamp()[1])
            yield SimulatedRecord(
                message.offset() or 0, time, message.key(), message.value(), headers_of(message)
            )

    def _for_candidate(self, record: SimulatedRecord) -> SimulatedRecord | None:
        """Return the record as the candidate is to see it; None: it cannot be told yet."""
        whole = self._whole
        kind = whole.kind_of(record.value) if record.value else object
        if kind is CatalogSwitch:
            return SimulatedRecord(record.offset, record.timestamp, None, None)  # time goes on
        absorb = decode_now(whole.codec, record.value or b"") if kind is Absorb else None
        if not isinstance(absorb, Absorb):
            return record
        if absorb.merge_id not in whole.exports:
            return None
        if absorb.loser in whole.course.older:
            whole.course.older.add((record.key or b"").decode())
        state = whole.exports[absorb.merge_id]
        if state is None:
            return record
        own = whole.codec.encode(msgspec.structs.replace(absorb, state=state), self._timeline)
        return SimulatedRecord(record.offset, record.timestamp, record.key, own, record.headers)
