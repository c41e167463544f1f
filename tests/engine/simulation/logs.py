"""A broker in memory, as far as the engine's clients can tell: logs, transactions, epochs.

The clients have the part of librdkafka's face that ``engine/changelog.py`` uses, so that module runs
here as it is. What is sent lies in the log at once, invisible to read_committed until its
transaction's marker; a fetch stops at the last stable offset; ``init_transactions`` raises the
epoch and ends what is open; a reply may be lost although the broker did what was asked.

Stricter than librdkafka in one thing: ``commit_transaction`` does not flush by itself, it ends what
has arrived. So a commit in front of the flush loses records here, as it must be assumed to.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException

OPEN, PREPARED, COMMITTED, ABORTED = range(4)
TRANSACTION_MS = 15_000


class Crash(BaseException):
    """A process dies here."""


@dataclass(slots=True)
class Transaction:
    owner: str
    began: float
    state: int = OPEN
    logs: list[Log] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    """One item of a log; ``key`` and ``value`` None outside of a marker: a tick."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()
    transaction: Transaction | None = None
    marker: bool = False


class Log:
    """One partition."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.open: dict[int, int] = {}
        """id of a transaction -> its first offset."""

    @property
    def end(self) -> int:
        return len(self.records)

    @property
    def stable(self) -> int:
        return min(self.open.values(), default=self.end)

    def append(self, timestamp, key, value, headers=(), transaction=None, *, marker=False):
        record = Record(self.end, timestamp, key, value, tuple(headers), transaction, marker)
        if transaction is not None and not marker and id(transaction) not in self.open:
            self.open[id(transaction)] = record.offset
            transaction.logs.append(self)
        self.records.append(record)
        return record

    def committed(self, start: int = 0, end: int | None = None) -> list[Record]:
        """Return what read_committed sees of [start, end)."""
        return [
            one
            for one in self.records[start : self.stable if end is None else min(end, self.stable)]
            if not one.marker and (one.transaction is None or one.transaction.state == COMMITTED)
        ]


@dataclass(slots=True)
class Seat:
    """What the coordinator knows of one transactional id."""

    epoch: int = 0
    transaction: Transaction | None = None


class Broker:
    """Every call of a client is a step at which its process may die.

    Args:
        rnd: Draws which replies are lost.
        step: Told of every step.
        now: Broker time, ms.
    """

    def __init__(self, rnd, step, now) -> None:
        self.rnd, self.step, self.now = rnd, step, now
        self.logs: dict[tuple[str, int], Log] = defaultdict(Log)
        self.seats: dict[str, Seat] = defaultdict(Seat)
        self.trouble = 0.0
        """Share of calls that fail."""
        self.lag: dict[int, int] = {}
        """id of a log -> how far the answer to "what is stable?" is behind."""

    def fails(self, factor: float = 1.0) -> bool:
        return self.trouble > 0 and self.rnd.random() < self.trouble * factor

    def end(self, transaction: Transaction, state: int) -> None:
        """Write the markers."""
        if transaction.state in {COMMITTED, ABORTED}:
            return
        transaction.state = state
        for log in transaction.logs:
            log.append(int(self.now()), None, None, transaction=transaction, marker=True)
            del log.open[id(transaction)]

    def settle(self, seat: Seat) -> None:
        """End what is open: forwards if the commit was prepared, else back."""
        found, seat.transaction = seat.transaction, None
        if found is not None:
            self.end(found, COMMITTED if found.state == PREPARED else ABORTED)

    def tend(self) -> None:
        """What the coordinator does by itself: markers of prepared commits, and its timeout."""
        for seat in self.seats.values():
            found = seat.transaction
            if found is None:
                continue
            if found.state == PREPARED:
                self.settle(seat)
            elif self.now() - found.began > TRANSACTION_MS:
                seat.epoch += 1
                self.settle(seat)


def _error(code: int, *, fatal: bool = False, retriable: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "simulated", fatal=fatal, retriable=retriable))


class Producer:
    """A transactional producer."""

    def __init__(self, config) -> None:
        self.broker: Broker = config["sim"]
        self.name = config["transactional.id"]
        self.epoch = -1
        self.dead = False
        self.queue: deque = deque()

    @property
    def _seat(self) -> Seat:
        return self.broker.seats[self.name]

    def init_transactions(self, _timeout) -> None:
        self.broker.step("init")
        if self.broker.fails():
            raise _error(KafkaError._TIMED_OUT, retriable=True)
        seat = self._seat
        seat.epoch += 1
        self.epoch = seat.epoch
        self.broker.settle(seat)
        for key in self.broker.lag:
            self.broker.lag[key] = self.broker.rnd.randrange(3)
        self.broker.step("initialised")

    def begin_transaction(self) -> None:
        self._check()

    def produce(
        self, topic, value=None, key=None, partition=0, on_delivery=None, timestamp=0, headers=()
    ) -> None:
        if self.dead:
            raise _error(KafkaError._STATE)
        if len(self.queue) > 500:
            raise BufferError
        self.queue.append((topic, value, key, partition, on_delivery, timestamp, headers))
        if self.broker.rnd.random() < 0.1:
            self._send()

    def poll(self, _timeout) -> None:
        self._send()

    def flush(self, _timeout) -> int:
        self.broker.step("flush")
        if self.broker.fails():
            return len(self.queue)
        while self.queue:
            self._send()
        self.broker.step("flushed by the broker")
        return 0

    def _send(self) -> None:
        if not self.queue:
            return
        broker, seat = self.broker, self._seat
        topic, value, key, partition, done, timestamp, headers = self.queue.popleft()
        if seat.epoch != self.epoch:
            self.dead = True
        if self.dead:
            if done is not None:
                done(KafkaError(KafkaError._FENCED), None)
            return
        if seat.transaction is None:
            seat.transaction = Transaction(self.name, broker.now())
        log = broker.logs[topic, partition]
        stamp = timestamp or int(broker.now())
        record = log.append(stamp, key, value, headers or (), seat.transaction)
        if done is not None:
            done(None, Message(record))
        if broker.rnd.random() < 0.2:
            broker.step("sent")

    def _check(self) -> None:
        if self.dead or self._seat.epoch != self.epoch:
            self.dead = True
            raise _error(KafkaError._FENCED, fatal=True)

    def commit_transaction(self, _timeout) -> None:
        broker = self.broker
        broker.step("commit")
        self._check()
        if broker.fails():
            raise _error(KafkaError._TIMED_OUT)  # it never arrived
        seat, found = self._seat, self._seat.transaction
        self.queue.clear()
        if found is not None:
            found.state = PREPARED
            if broker.rnd.random() < 0.5:
                broker.step("prepared")
                if broker.fails(2):
                    raise _error(KafkaError._TIMED_OUT)  # the broker will write the markers
            if seat.transaction is found:
                broker.settle(seat)
        broker.step("marked")
        if broker.fails(2):
            raise _error(KafkaError._TIMED_OUT)  # it was done, the reply is lost

    def purge(self) -> None:
        self.queue.clear()
        self.dead = True


class Message:
    """As a consumer's or a delivery report's."""

    def __init__(self, record: Record | None, at: int = 0) -> None:
        self._record, self._at = record, at

    def error(self):
        return None if self._record is not None else KafkaError(KafkaError._PARTITION_EOF)

    def offset(self) -> int:
        return self._record.offset if self._record is not None else self._at

    def key(self):
        return self._record.key

    def value(self):
        return self._record.value


class Consumer:
    """Assigned by hand to one partition, from a given offset."""

    def __init__(self, config) -> None:
        self.broker: Broker = config["sim"]
        self.committed = config.get("isolation.level") == "read_committed"
        self.at = 0
        self.log: Log | None = None
        self.told = -1

    def assign(self, partitions) -> None:
        (one,) = partitions
        self.log, self.at = self.broker.logs[one.topic, one.partition], one.offset

    def consume(self, count, _timeout) -> list[Message]:
        self.broker.step("consume")
        log = self.log
        limit = log.stable if self.committed else log.end
        portion = min(limit, self.at + min(count, self.broker.rnd.choice([1, 5, 1_000])))
        seen = log.committed(self.at, portion) if self.committed else log.records[self.at : portion]
        found = [Message(one) for one in seen if not one.marker]
        self.at = max(self.at, portion)
        if self.at >= limit and self.told != self.at:
            self.told = self.at
            found.append(Message(None, self.at))
        if not found:
            self.broker.tend()  # nothing comes: time passes
        return found

    def get_watermark_offsets(self, partition, **_) -> tuple[int, int]:
        self.broker.step("bounds")
        log = self.broker.logs[partition.topic, partition.partition]
        if not self.committed:
            return 0, log.end
        behind = self.broker.lag.setdefault(id(log), 0)
        return 0, max(0, log.stable - behind)

    def close(self) -> None:
        self.log = None
