"""``load``: files of canonical events into the events topic, resumable, nothing lost.

A position is kept only after Kafka has acknowledged everything before it, so a load that was stopped
continues there; what was sent beyond it is sent again under the same ids, which makes duplicates.
Lines that are no event become dead letters and are never in the way of the next.

On the log clock the lines of all files are sent in the order of their time, each with its time as
the record's, and at the end one tick, so that timers up to ``until`` fire. The tick goes straight to
the timeline, so it must wait until the worker has brought everything before it there: until the
group's committed offset on the events topic is past the last event. The worker commits it behind the
transaction that wrote the timeline, so it can be late but never early. In the same way the load ends
only when the tick itself has been consumed: then everything is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import CouldNotRun, InputError, UsageError
from orchestrator.kafka.clients import bootstrap_servers, consumer_config, producer_config
from orchestrator.kafka.dead_letters import dead_letter_headers
from orchestrator.kafka.definitions import read_definitions
from orchestrator.kafka.topics import Topology
from orchestrator.settings import Settings
from orchestrator.sources import metrics
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.loadstate import LoadState, Mark
from orchestrator.sources.ndjson import Line, file_identity, parse_line, read_lines
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import PROFILE
from orchestrator.sources.sorting import TimedLine, in_order

ROLE = "load"
CHUNK_LINES = 5_000
"""Between two positions: a flush costs milliseconds, a repetition of so many lines nothing."""
FLUSH_S = 130.0
WAIT_POLL_S = 0.2
_ANSWER_S = 10.0
_NEEDS = ("events", "timeline", "definitions", "dead-letters")


class Progress(Protocol):
    """Who is told how it goes; phases: ``sort``, ``load``, ``wait``."""

    def begin(self, phase: str, total: int | None) -> None:
        """Begin a phase of ``total`` steps (bytes or lines); None = nobody knows."""
        ...

    def at(self, done: int) -> None:
        """Say how many steps are done."""
        ...


class Summary(Struct):
    """What a load came to."""

    files: int = 0
    accepted: int = 0
    refused: int = 0
    tick_at: int | None = None


class Loader:
    """One load. All methods block.

    Args:
        settings: Where to; the clock mode decides how.
        codec: Prepared for the events topic.
        kinds: The profile's identity kinds.
        source: Name of the source for lines that do not name one.
        backfill: Mark events as history: they set traits and start nothing.
        progress: Who is told.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        kinds: IdentityKinds,
        source: str,
        progress: Progress,
        *,
        backfill: bool = False,
    ) -> None:
        topology = Topology(settings)
        self._settings = settings
        self._codec = codec
        self._kinds = kinds
        self._source = source
        self._backfill = backfill
        self._progress = progress
        self._events = topology.name("events")
        self._timeline = topology.name("timeline")
        self._dead_letters = topology.name("dead-letters")
        self._log_clock = topology.log_clock
        servers = ",".join(bootstrap_servers(settings))
        self._state = LoadState(Path(settings.worker.data_dir, ROLE), servers, self._events, source)
        self._producer = Producer(producer_config(settings, **{"linger.ms": 20}))
        self._error: KafkaError | None = None
        self._last_offset = -1
        self._tick_offset = -1
        self._identities: dict[Path, str] = {}

    def run(self, files: Sequence[Path], *, again: bool, until: int | None) -> Summary:
        """Load the files; on the log clock together, else one after the other.

        Raises:
            UsageError: A file was finished before and ``again`` is not given.
            CouldNotRun: Kafka did not take everything; run it again to continue.
        """
        groups = [list(files)] if self._log_clock else [[file] for file in files]
        if not again:
            self._refuse_finished(groups, files)
        summary = Summary(files=len(files))
        for group in groups:
            mark = Mark([file.name for file in group]) if again else self._state.read(group)
            self._load(group, mark)
            if self._log_clock:
                summary.tick_at = self._tick(mark, until)
            mark.finished = True
            for done in [group, *([file] for file in group)]:
                self._state.write(done, mark)
            summary.accepted += mark.accepted
            summary.refused += mark.refused
        return summary

    def _refuse_finished(self, groups: list[list[Path]], files: Sequence[Path]) -> None:
        for group in [*groups, *([file] for file in files)]:
            if self._state.read(group).finished:
                names = ", ".join(str(file) for file in group)
                raise UsageError(f"{names} was loaded to its end before; --again loads it again")

    # ---------------------------------------------------------------------------- lines

    def _load(self, files: list[Path], mark: Mark) -> None:
        lines = self._sorted(files) if self._log_clock else self._plain(files[0], mark.position)
        if not self._log_clock:
            self._progress.begin("load", _unpacked_size(files[0]))
        done = mark.position
        skip = mark.position if self._log_clock else 0
        for number, line in enumerate(lines):
            if number < skip:
                continue
            self._send(files[line.file], line, mark)
            done = number + 1 if self._log_clock else line.offset + len(line.data)
            if number % CHUNK_LINES == CHUNK_LINES - 1:
                self._settle(files, mark, done)
        self._settle(files, mark, done)

    def _plain(self, file: Path, start: int) -> Iterator[TimedLine]:
        for line in read_lines(file, start):
            yield TimedLine(0, 0, line.offset, line.data)

    def _sorted(self, files: list[Path]) -> Iterator[TimedLine]:
        self._progress.begin("sort", None)
        count = 0

        def timed() -> Iterator[TimedLine]:
            nonlocal count
            for number, file in enumerate(files):
                for line in read_lines(file):
                    count += 1
                    at = self._time_of(file, line)
                    yield TimedLine(at, number, line.offset, line.data)

        lines = in_order(timed())
        first = next(lines, None)
        self._progress.begin("load", count)
        if first:
            yield first
            yield from lines

    def _send(self, file: Path, line: TimedLine, mark: Mark) -> None:
        try:
            event = parse_line(line.data, self._source, self._identity(file), line.offset)
            key = self._kinds.key(event.identities)
        except InputError as error:
            self._bury(file, line, error)
            mark.refused += 1
            return
        headers = headers_for(event, event.source, backfill=self._backfill)
        at = event.occurred_at if self._log_clock else 0
        value = self._codec.encode(event, self._events)
        self._produce(Outgoing(self._events, key.encode(), value, list(headers), at))
        mark.accepted += 1
        mark.last_time = max(mark.last_time, event.occurred_at)
        metrics.received.labels(event.source, "accepted").inc()

    def _bury(self, file: Path, line: TimedLine, error: InputError) -> None:
        headers = dead_letter_headers(
            ROLE, error.cause, str(error), topic=file.name, offset=line.offset
        )
        self._produce(Outgoing(self._dead_letters, None, line.data, list(headers)))
        metrics.refused.labels(self._source, error.cause).inc()
        metrics.received.labels(self._source, "dead_letter").inc()

    def _time_of(self, file: Path, line: Line) -> int:
        try:
            return parse_line(
                line.data, self._source, self._identity(file), line.offset
            ).occurred_at
        except InputError:
            return 0

    def _identity(self, file: Path) -> str:
        if file not in self._identities:
            self._identities[file] = file_identity(file)
        return self._identities[file]

    # ---------------------------------------------------------------------------- Kafka

    def _produce(self, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    timestamp=record.timestamp,
                    partition=record.partition,
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(1.0)  # the queue is full: wait for room
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = self._error or error
        elif message.topic() == self._events:
            self._last_offset = max(self._last_offset, message.offset() or 0)
        elif message.topic() == self._timeline:
            self._tick_offset = message.offset() or 0

    def _settle(self, files: list[Path], mark: Mark, position: int) -> None:
        """Wait until Kafka has everything, then keep the position."""
        left = self._producer.flush(FLUSH_S)
        if self._error or left:
            why = self._error.str() if self._error else "no answer"
            raise CouldNotRun(f"Kafka did not take everything ({why}); run it again to continue")
        mark.position = position
        mark.last_offset = max(mark.last_offset, self._last_offset)
        self._state.write(files, mark)
        self._progress.at(position)

    def _tick(self, mark: Mark, until: int | None) -> int | None:
        """Let log time come to its end, once everything before it is on the timeline."""
        if mark.last_offset >= 0:
            self._wait(self._events, mark.last_offset)
        at = max(mark.last_time, until or 0)
        if not at:
            return None  # nothing was loaded: there is no time to come to
        self._produce(Outgoing(self._timeline, None, None, [], at, 0))
        if self._producer.flush(FLUSH_S) or self._error:
            raise CouldNotRun("Kafka did not take the closing tick; run it again")
        self._wait(self._timeline, self._tick_offset)
        return at

    def _wait(self, topic: str, last: int) -> None:
        self._progress.begin("wait", last + 1)
        consumer = Consumer(consumer_config(self._settings, self._settings.app.id))
        here = [TopicPartition(topic, 0)]
        try:
            while (reached := _committed(consumer, here)) <= last:
                self._progress.at(max(0, reached))
                sleep(WAIT_POLL_S)
            self._progress.at(last + 1)
        finally:
            consumer.close()


def _committed(consumer: Consumer, at: list[TopicPartition]) -> int:
    try:
        return consumer.committed(at, _ANSWER_S)[0].offset
    except KafkaException:
        return -1  # the coordinator moves or the broker is away: ask again


def _unpacked_size(file: Path) -> int | None:
    return None if file.suffix == ".gz" else file.stat().st_size


def applied_kinds(settings: Settings, codec: Codec) -> IdentityKinds:
    """Return the identity kinds of the catalog in force. Blocks.

    Raises:
        CouldNotRun: No catalog was applied yet.
        BrokerUnavailable: Kafka does not answer.
    """
    definitions = read_definitions(settings, codec)
    if definitions.catalog is None:
        raise CouldNotRun(
            "no catalog is in force: run `orchestrator journeys apply`, or give --workspace"
        )
    for name, hash_ in definitions.catalog.definitions.items():
        if name.startswith(PROFILE):
            return IdentityKinds.of_profile(definitions.by_hash[hash_].source)
    return IdentityKinds.of_profile("{}")


def prepare(settings: Settings, codec: Codec) -> None:
    """Check the topics and learn the schemas. Blocks."""
    topology = Topology(settings)
    topology.verify(*_NEEDS)
    codec.prepare(topology.names("events"))
