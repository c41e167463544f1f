"""A running deployment held against its own log: states byte by byte, outputs as multisets.

For each partition the recorded log is run again, and compared at two cuts. The first is the newest
checkpoint when the audit comes to the partition: whatever leaves in front of it must be on the
topics. Then the topics are read to their ends, and only then the second cut is taken: whatever is
on the topics must have left in front of that. So nothing has to stand still, and nothing that is
under way looks like a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from orchestrator.codec import Codec
from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig
from orchestrator.engine.engine import StageSpec
from orchestrator.engine.findings import Difference, Findings, changes, described
from orchestrator.engine.holding import Skipped, Skips
from orchestrator.engine.matching import Item, Matcher
from orchestrator.engine.meta import Meta, TransactionReader
from orchestrator.engine.ports import Output, TaskId
from orchestrator.engine.processor import Tools
from orchestrator.engine.rerun import Rerun, StateDifference
from orchestrator.engine.simulated import SimulatedRecord
from orchestrator.engine.store import Stores
from orchestrator.engine.timers import entry as timer_entry
from orchestrator.errors import ChangelogTorn, CouldNotRun, DecodeError
from orchestrator.kafka import dead_letters
from orchestrator.kafka.decoding import decode_now
from orchestrator.kafka.reading import PartitionReader, headers_of, read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.records import Action, Decision, Record

BATCH = 2_000
"""Records between two looks at the topics."""


class LogCut(CouldNotRun):
    """The log does not reach back to its first record any more."""


def find_skips(topology: Topology, stage: str) -> dict[int, Skips]:
    """Return what operators passed over, by partition: all of it has become dead letters."""
    skips: dict[int, Skips] = {}
    for number in range(topology.partitions("dead-letters")):
        topic = topology.name("dead-letters")
        for message in read_partition(topology.settings, topic, number):
            letter = dead_letters.read_message(message)
            if letter.cause != Skipped.cause or letter.stage != stage:
                continue
            found = skips.setdefault(letter.from_partition, Skips())
            if letter.doing:
                found.timers[timer_entry(letter.instant, letter.key or b"")] = letter.message
            else:
                found.records[letter.from_offset] = letter.message
    return skips


class Audit:
    """One stage of one deployment.

    Args:
        topology: The deployment's topics.
        spec: The stage as the worker runs it.
        tools: As the worker's.
        codec: Decodes what is compared.
        config: As the worker's.
        outputs: Topics whose records only this stage writes: there nothing may be over.
        folder: An empty folder for the states of the rerun.
        progress: Told how many records have been run again since the last call.
    """

    def __init__(
        self,
        topology: Topology,
        spec: StageSpec,
        tools: Tools,
        codec: Codec,
        config: EngineConfig,
        outputs: tuple[str, ...],
        folder: Path,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.topology = topology
        self.spec = spec
        self.tools = tools
        self.config = config
        self.outputs = outputs
        self.stores = Stores(folder)
        self.progress = progress
        self.skips: dict[int, Skips] = {}
        """By partition."""
        self._codec = codec
        self.findings = Findings(stage=spec.stage.name)

    def run(self) -> Findings:
        """Audit every partition.

        Raises:
            LogCut: Records that the state stems from have been deleted.
            UnavailableError: Kafka, the registry or a definition is away.
        """
        self.skips = find_skips(self.topology, self.spec.stage.name)
        for partition in range(self.spec.partitions):
            with ExitStack() as stack:
                _Partition(self, partition, stack).run()
            self.findings.partitions += 1
        return self.findings

    # -- for the partitions ---------------------------------------------------------------------

    def open(self, stack: ExitStack, topic: str, partition: int) -> PartitionReader:
        """Return a reader of a partition from its first record."""
        return stack.enter_context(PartitionReader(self.topology.settings, topic, partition))

    def decode(self, value: bytes) -> Record:
        """Return a record; its schema is fetched if need be."""
        return decode_now(self._codec, value)


class _Partition:
    """One partition of one audit; lives as long as ``stack``."""

    def __init__(self, audit: Audit, partition: int, stack: ExitStack) -> None:
        spec, topology = audit.spec, audit.topology
        self._audit = audit
        self._spec = spec
        self._number = partition
        self._findings = audit.findings
        self._changelog = _Changelog(
            audit.open(stack, topology.changelog(spec.stage.table), partition)
        )
        self._source = audit.open(stack, spec.source, partition)
        first, _ = self._source.bounds()
        self._first = first
        self._topics = {
            topic: _Topic(audit.open(stack, topic, partition)) for topic in audit.outputs
        }
        task = TaskId(spec.stage.name, partition)
        self._rerun = Rerun(
            task,
            spec,
            audit.tools,
            audit.config,
            audit.stores,
            first,
            self._take,
            audit.skips.get(partition),
        )
        stack.callback(self._rerun.close)

    def run(self) -> None:
        try:
            self._run()
        except ChangelogTorn as torn:
            self._differs("changelog", "", str(torn))

    def _run(self) -> None:
        self._changelog.read_on()
        if not self._changelog.meta.seq:
            return  # no checkpoint yet: nothing has been decided here
        if self._first > 0:
            raise LogCut(
                f"{self._spec.source} [{self._number}] begins at offset {self._first}: what came "
                "before has been deleted, and the state stems from it. Only a state export from "
                "then would do as a beginning"
            )
        self._reach(self._changelog.meta)
        for topic in self._topics.values():
            topic.to_end()
        missing = {name: list(topic.matcher.missing()) for name, topic in self._topics.items()}
        former = self._changelog.meta.seq
        self._changelog.read_on()
        if self._changelog.meta.seq != former:
            self._reach(self._changelog.meta)
        self._compare_states()
        for name, topic in self._topics.items():
            self._compare_topic(name, topic, missing[name])

    # -- running the log again ------------------------------------------------------------------

    def _reach(self, meta: Meta) -> None:
        """Run on to a checkpoint."""
        batch: list[SimulatedRecord] = []
        for message in self._source.read(meta.position):
            batch.append(
                SimulatedRecord(
                    message.offset() or 0,
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    headers_of(message),
                )
            )
            if len(batch) >= BATCH:
                self._feed(batch, batch[-1].offset + 1)
                batch = []
        self._feed(batch, meta.position)
        self._differing = list(self._rerun.settle(self._changelog.states, self._limit()))
        self._follow()

    def _feed(self, batch: list[SimulatedRecord], end: int) -> None:
        self._rerun.feed(batch, end)
        self._findings.records += len(batch)
        self._audit.progress(len(batch))
        self._follow()

    def _follow(self) -> None:
        for topic in self._topics.values():
            topic.follow()

    def _limit(self) -> int | None:
        """Return the log time of the next record, if there is one."""
        following = self._source.peek(self._source.bounds()[1])
        if following is None:
            return None
        return max(following.timestamp()[1], self._rerun.log_time)

    def _take(self, output: Output) -> None:
        topic = self._topics.get(output.topic)
        if topic is not None:
            topic.matcher.expect(Item(output.key or b"", output.value or b""))

    # -- comparing ------------------------------------------------------------------------------

    def _compare_states(self) -> None:
        self._findings.states += len(self._changelog.states)
        for differing in self._differing:
            kind = "state"
            if differing.found is None:
                kind = "state_missing"
            elif differing.expected is None:
                kind = "state_unexpected"
            self._differs(kind, differing.key, "state", self._state_detail(differing))
        meta = self._changelog.meta
        if meta.log_time != self._rerun.log_time:
            self._differs(
                "time", "", f"checkpoint {meta.log_time}", f"the log: {self._rerun.log_time}"
            )
        if (digest := self._changelog.digest()) != meta.digest:
            self._differs(
                "changelog", "", f"digest {digest:x}", f"the checkpoint says {meta.digest:x}"
            )

    def _state_detail(self, differing: StateDifference) -> str:
        if differing.expected is None or differing.found is None:
            return ""
        decode = self._spec.stage.decode
        return changes(decode(differing.expected[8:]), decode(differing.found[8:]))

    def _compare_topic(self, name: str, topic: _Topic, missing: list[Item]) -> None:
        """``missing`` was due at the first cut; what the second cut still adds may be under way."""
        still = Counter(topic.matcher.missing())
        lacking = list((Counter(missing) & still).elements())
        self._findings.matched.setdefault(name, 0)
        surplus: dict[tuple[str, str], list[Item]] = {}
        for item in topic.matcher.surplus():
            surplus.setdefault(self._identity(item), []).append(item)
        for item in lacking:
            pair = surplus.get(self._identity(item))
            if pair:
                self._compare_contents(name, item, pair.pop())
            elif topic.begins_later_than(self._instant(item)):
                self._findings.aged[name] = self._findings.aged.get(name, 0) + 1
            else:
                self._outputs_differ("missing", name, item)
        for items in surplus.values():
            for item in items:
                again = topic.matcher.expected_before(item)
                self._outputs_differ("twice" if again else "unexpected", name, item)
        self._findings.matched[name] += topic.matcher.matched

    def _compare_contents(self, name: str, expected: Item, found: Item) -> None:
        one, other = self._record(expected), self._record(found)
        if one == other and expected.key == found.key:
            self._findings.matched[name] += 1  # written with another version of the schema
            return
        detail = changes(one, other)
        if expected.key != found.key:
            detail = f"key: {expected.key!r} -> {found.key!r} {detail}"
        self._outputs_differ("content", name, found, detail)

    def _outputs_differ(self, kind: str, name: str, item: Item, detail: str = "") -> None:
        what, identity = self._identity(item)
        record = self._record(item)
        if not detail and isinstance(record, Decision | Action):
            detail = described(record)
        key = item.key.decode(errors="replace")
        self._differs(kind, key, f"{what} {identity} on {name}", detail)

    def _differs(self, kind: str, key: str, what: str, detail: str = "") -> None:
        self._findings.add(
            Difference(kind=kind, partition=self._number, key=key, what=what, detail=detail)
        )

    # -- records --------------------------------------------------------------------------------

    def _record(self, item: Item) -> Record | None:
        try:
            return self._audit.decode(item.value)
        except DecodeError:
            return None

    def _identity(self, item: Item) -> tuple[str, str]:
        match self._record(item):
            case Decision(decision_id=name):
                return "decision", name
            case Action(action_id=name, kind=kind):
                return ("action" if kind == "send" else "cancel"), name
            case _:
                return "record", item.value[:16].hex()

    def _instant(self, item: Item) -> int:
        record = self._record(item)
        return record.decided_at if isinstance(record, Decision | Action) else 0


class _Topic:
    """One output partition beside what is expected of it."""

    def __init__(self, reader: PartitionReader) -> None:
        self.matcher = Matcher()
        self._reader = reader
        self._first, _ = reader.bounds()
        self._begins = 0
        self._end: int | None = None

    def follow(self) -> None:
        """Read on while something expected has not been found."""
        if self._end is None:
            self._end = self._reader.bounds()[1]
        while self.matcher.open and self._next(self._end):
            pass

    def to_end(self) -> None:
        """Read all that is there now; what is open there is waited for."""
        self._end = self._reader.bounds()[1]
        while self._next(self._end):
            pass

    def begins_later_than(self, instant: int) -> bool:
        """Whether retention has deleted records of that log time."""
        return self._first > 0 and instant <= (self._begins or instant)

    def _next(self, end: int) -> bool:
        for message in self._reader.read(end):
            if not self._begins:
                self._begins = message.timestamp()[1]
            self.matcher.find(Item(message.key() or b"", message.value() or b""))
            return True
        return False


class _Changelog:
    """A changelog partition read to its end, and on when it has grown."""

    def __init__(self, reader: PartitionReader) -> None:
        self.states: dict[bytes, bytes] = {}
        self.meta = Meta()
        self._reader = reader
        self._transactions = TransactionReader(Meta())

    def read_on(self) -> None:
        """Read to where the end is now.

        Raises:
            ChangelogTorn: It contradicts itself.
        """
        end, half = self._reader.bounds()[1], False
        while True:
            for message in self._reader.read(end):
                half = self._take(message.offset() or 0, message.key() or b"", message.value())
            former, end = end, self._reader.bounds()[1]
            if not half or end == former:
                break  # else the end that was asked for lay within a transaction
        self._transactions.end()

    def _take(self, offset: int, key: bytes, value: bytes | None) -> bool:
        """Take one record; return whether its transaction goes on."""
        whole = self._transactions.feed(offset, key, value)
        if whole is None:
            return True
        changed, self.meta = whole
        for name, state in changed.items():
            if state is None:
                self.states.pop(name, None)
            else:
                self.states[name] = state
        return False

    def digest(self) -> int:
        """Return the digest of the states, to be compared with the meta record's."""
        shares = (metas.state_hash(key, value) for key, value in self.states.items())
        return metas.add_to_digest(0, sum(shares))
