"""``load``: files into the events topic, as they are or through mappings; resumable, nothing lost.

A position is kept only after Kafka has acknowledged everything before it, so a load that was stopped
continues there; what was sent beyond it is sent again under the same ids, which makes duplicates.
Records that are no event become dead letters and are never in the way of the next.

On the log clock the events of all files are sent in the order of their time, each with its time as
the record's, and at the end one tick, so that timers up to ``until`` fire. The tick goes straight to
the timeline, so it must wait until the worker has brought everything before it there: until the
group's committed offset on the events topic is past the last event. The worker commits it behind the
transaction that wrote the timeline, so it can be late but never early. In the same way the load ends
only when the tick itself has been consumed: then everything is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct

from orchestrator.codec import Codec, headers_for
from orchestrator.errors import CouldNotRun, InputError, UsageError
from orchestrator.kafka.clients import bootstrap_servers, consumer_config, producer_config
from orchestrator.kafka.dead_letters import dead_letter_headers, fitted
from orchestrator.kafka.definitions import read_definitions
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.settings import Settings
from orchestrator.sources import metrics
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.inputs import BrokenFile, Input, by_time
from orchestrator.sources.loadstate import LoadState, Mark
from orchestrator.sources.mappings.mapper import MAX_EVENT
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import PROFILE

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
        """Begin a phase of ``total`` steps (bytes, events); None = nobody knows."""
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
        backfill: Mark events as history: they set traits and start nothing.
        progress: Who is told.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        kinds: IdentityKinds,
        progress: Progress,
        *,
        backfill: bool = False,
    ) -> None:
        topology = Topology(settings)
        self._settings = settings
        self._codec = codec
        self._kinds = kinds
        self._backfill = backfill
        self._progress = progress
        self._events = topology.name("events")
        self._timeline = topology.name("timeline")
        self._dead_letters = topology.name("dead-letters")
        self._log_clock = topology.log_clock
        servers = ",".join(bootstrap_servers(settings))
        self._state = LoadState(Path(settings.worker.data_dir, ROLE), servers, self._events)
        self._producer = Producer(producer_config(settings, **{"linger.ms": 20}))
        self._error: KafkaError | None = None
        self._last_offset = -1
        self._tick_offset = -1

    def run(self, inputs: Sequence[Input], *, again: bool, until: int | None) -> Summary:
        """Load the files; on the log clock together, else one after the other.

        Raises:
            UsageError: A file was finished before and ``again`` is not given.
            CouldNotRun: Kafka did not take everything; run it again to continue.
        """
        groups = [list(inputs)] if self._log_clock else [[one] for one in inputs]
        if not again:
            self._refuse_finished(groups, inputs)
        summary = Summary(files=len(inputs))
        for group in groups:
            mark = Mark([one.path.name for one in group]) if again else self._state.read(group)
            self._load(group, mark)
            if self._log_clock:
                summary.tick_at = self._tick(mark, until)
            mark.finished = True
            for done in [group, *([one] for one in group)]:
                self._state.write(done, mark)
            summary.accepted += mark.accepted
            summary.refused += mark.refused
        return summary

    def _refuse_finished(self, groups: list[list[Input]], inputs: Sequence[Input]) -> None:
        for group in [*groups, *([one] for one in inputs)]:
            if self._state.read(group).finished:
                names = ", ".join(str(one.path) for one in group)
                raise UsageError(f"{names} was loaded to its end before; --again loads it again")

    # --------------------------------------------------------------------------- events

    def _load(self, inputs: Sequence[Input], mark: Mark) -> None:
        if self._log_clock:
            self._load_by_time(inputs, mark)
        else:
            self._load_one(inputs[0], mark)

    def _load_one(self, input_: Input, mark: Mark) -> None:
        self._progress.begin("load", input_.size())
        done = mark.position
        try:
            for number, piece in enumerate(input_.pieces(mark.position), 1):
                try:
                    records = [self._record(event) for event in input_.events(piece)]
                except InputError as error:
                    self._bury(input_, piece.offset, piece.data, error, mark)
                else:
                    for event, record in records:
                        self._send(event, record, mark)
                done = piece.end
                if number % CHUNK_LINES == 0:
                    self._settle([input_], mark, done)
        except BrokenFile:
            self._settle([input_], mark, done)
            raise
        self._settle([input_], mark, done)

    def _load_by_time(self, inputs: Sequence[Input], mark: Mark) -> None:
        self._progress.begin("sort", None)
        done, skip = mark.position, mark.position

        def counted(total: int) -> None:
            self._progress.begin("load", total)

        for number, one in enumerate(by_time(inputs, self._record, counted), 1):
            if number <= skip:
                continue
            if one.event is not None:
                self._send(*self._record(one.event), mark)
            elif one.error is not None:
                self._bury(one.input, one.offset, one.data, one.error, mark)
            done = number
            if number % CHUNK_LINES == 0:
                self._settle(inputs, mark, done)
        self._settle(inputs, mark, done)

    def _record(self, event: Event) -> tuple[Event, Outgoing]:
        """Return an event and its record.

        Raises:
            InputError: It has no usable identity, or is too large for Kafka and for a customer's state.
        """
        key = self._kinds.key(event.identities)
        value = self._codec.encode(event, self._events)
        if len(value) > MAX_EVENT:
            raise InputError(f"an event may have {MAX_EVENT} bytes, not {len(value)}", "too_large")
        headers = headers_for(event, event.source, backfill=self._backfill)
        at = event.occurred_at if self._log_clock else 0
        return event, Outgoing(self._events, key.encode(), value, list(headers), at)

    def _send(self, event: Event, record: Outgoing, mark: Mark) -> None:
        self._produce(record)
        mark.accepted += 1
        mark.last_time = max(mark.last_time, event.occurred_at)
        metrics.received.labels(event.source, "accepted").inc()

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

    def _bury(self, input_: Input, offset: int, data: bytes, error: InputError, mark: Mark) -> None:
        headers = dead_letter_headers(
            ROLE, error.cause, str(error), topic=input_.path.name, offset=offset
        )
        value, told = fitted(None, data, headers)
        self._produce(Outgoing(self._dead_letters, None, value, list(told)))
        mark.refused += 1
        metrics.refused.labels(input_.source, error.cause).inc()
        metrics.received.labels(input_.source, "dead_letter").inc()

    def _settle(self, inputs: Sequence[Input], mark: Mark, position: int) -> None:
        """Wait until Kafka has everything, then keep the position."""
        left = self._producer.flush(FLUSH_S)
        if self._error or left:
            why = self._error.str() if self._error else "no answer"
            raise CouldNotRun(f"Kafka did not take everything ({why}); run it again to continue")
        mark.position = position
        mark.last_offset = max(mark.last_offset, self._last_offset)
        self._state.write(inputs, mark)
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
