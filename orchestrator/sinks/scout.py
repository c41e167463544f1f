"""Reads ahead of the senders and keeps the cancels: who revoked consent must not wait in a queue.

A sink may only claim an action when the scout has passed what was, at most 2 s ago, the last stable
offset of the action's partition: then every cancel committed until then is known, however long the
queue of sends before it is.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # public

from orchestrator.codec import Codec
from orchestrator.errors import DecodeError, RegistryUnavailable
from orchestrator.kafka.clients import admin_config, consumer_config
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.observability import get_logger
from orchestrator.records import Action
from orchestrator.settings import Settings

FRESH_S = 2.0
SAMPLE_S = 0.25
RENEW_S = 1.0
_BATCH = 2_000
_POLL_S = 0.05
_QUERY_S = 2.0
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call] # public
_log = get_logger(__name__)


class _Watch:
    """One partition: how far the scout is, what the end was, and the cancels beyond the senders."""

    def __init__(self) -> None:
        self.reached = 0
        self.ends: deque[tuple[float, int]] = deque(maxlen=256)
        self.passed_at = -FRESH_S
        self.cancels: dict[str, int] = {}

    def judge(self) -> None:
        while self.ends and self.ends[0][1] <= self.reached:
            self.passed_at = self.ends.popleft()[0]


class Scout:
    """One consumer and one thread for all partitions of a sink."""

    def __init__(self, settings: Settings, codec: Codec, topic: str) -> None:
        self._topic = topic
        self._codec = codec
        self._consumer = Consumer(
            consumer_config(settings, f"{settings.app.id}-scout", **{"enable.partition.eof": True})
        )
        # Not the consumer: its question would stand behind its own long poll on the connection, half
        # a second for each partition of a silent topic, and the answer would be stale when it came.
        self._settings = settings
        self._admin = AdminClient(admin_config(settings))
        self._watches: dict[int, _Watch] = {}
        self._starts: dict[int, int] = {}
        self._changed = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sampled = 0.0
        self._thread = threading.Thread(target=self._run, name="scout", daemon=True)

    def start(self) -> None:
        """Begin to read; partitions come by ``add``."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()

    def add(self, partition: int, start: int) -> None:
        """Watch a partition from offset ``start`` on."""
        with self._lock:
            self._starts[partition] = start
            self._watches[partition] = _Watch()
            self._changed = True

    def remove(self, partition: int) -> None:
        """Watch it no more."""
        with self._lock:
            self._starts.pop(partition, None)
            self._watches.pop(partition, None)
            self._changed = True

    def is_fresh(self, partition: int) -> bool:
        """Whether every cancel that was committed 2 s ago is known."""
        watch = self._watches.get(partition)
        return watch is not None and monotonic() - watch.passed_at <= FRESH_S

    def is_cancelled(self, partition: int, action_id: str) -> bool:
        """Whether a cancel of this action has been seen."""
        watch = self._watches.get(partition)
        return watch is not None and action_id in watch.cancels

    def forget(self, partition: int, offset: int) -> None:
        """The senders have come past ``offset``: cancels up to there have done their work."""
        watch = self._watches.get(partition)
        if watch and watch.cancels:
            with self._lock:
                for action_id in [one for one, at in watch.cancels.items() if at <= offset]:
                    del watch.cancels[action_id]

    # ------------------------------------------------------------------------- thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._reassign()
            self._sample()
            for message in self._consumer.consume(_BATCH, _POLL_S):
                self._take(message)
            for watch in tuple(self._watches.values()):
                watch.judge()

    def _reassign(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            at = [
                TopicPartition(self._topic, partition, max(start, self._watches[partition].reached))
                for partition, start in self._starts.items()
            ]
        self._consumer.assign(at)

    def _sample(self) -> None:
        if monotonic() - self._sampled < SAMPLE_S:
            return
        self._sampled = asked = monotonic()
        watches = dict(self._watches)
        if not watches:
            return
        # Read committed, so the latest offset is the last stable one. One request for them all.
        answers = self._admin.list_offsets(
            {TopicPartition(self._topic, one): _LATEST for one in watches},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_QUERY_S,
        )
        for at, answer in answers.items():
            try:
                watches[at.partition].ends.append((asked, answer.result().offset))
            except KafkaException as error:
                _log.warning("the scout cannot ask for the end", error=str(error))
                if error.args[0].code() != KafkaError._TIMED_OUT:  # noqa: SLF001 - its public name
                    # Its picture of who leads with which epoch is renewed every five minutes alone,
                    # and with an old one every question fails: a new client has none.
                    self._admin = AdminClient(admin_config(self._settings))
                    self._sampled = asked + RENEW_S
                return

    def _take(self, message: Message) -> None:
        watch, offset = self._watches.get(message.partition() or 0), message.offset()
        if watch is None or offset is None:
            return
        if error := message.error():
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                watch.reached = max(watch.reached, offset)
            return
        value = message.value()
        if value is not None and (action := self._decoded(value)) and action.kind == "cancel":
            with self._lock:
                watch.cancels[action.action_id] = offset
        watch.reached = max(watch.reached, offset + 1)

    def _decoded(self, value: bytes) -> Action | None:
        try:
            record = decode_blocking(self._codec, value, self._stopped)
        except (DecodeError, RegistryUnavailable):
            return None  # the senders meet it too and dead-letter it
        return record if isinstance(record, Action) else None
