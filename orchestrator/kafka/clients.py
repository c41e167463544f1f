"""Configurations of every Kafka client of ours, from the ``kafka`` section of the settings.

One section serves two client libraries: librdkafka takes its own names; aiokafka, which carries
Faust, gets a translation (``orchestrator.kafka.login``). The operator's properties lie over our
defaults, what a role cannot do without lies over both.
"""

from __future__ import annotations

import logging
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from orchestrator.kafka import dead_letters
from orchestrator.layers import Secret

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from orchestrator.settings import Settings

QUIET_S: Final = 30.0
"""During an outage each kind of complaint of the clients is logged once in this time."""

_DEFAULTS: Final[dict[str, Any]] = {
    # An outage ends for us within a second of its end, also behind a dead NAT entry.
    "socket.connection.setup.timeout.ms": 10_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 60_000,
}
_PRODUCER_DEFAULTS: Final[dict[str, Any]] = {
    "compression.type": "lz4",
    "linger.ms": 5,
    "delivery.timeout.ms": 120_000,
    # The topics' own limits decide, at the broker: here a record counts before its compression.
    # Batches stay at batch.size, 1 MB.
    "message.max.bytes": 2 * dead_letters.MAX_BYTES,
}
_DELIVERY_TIMEOUT: Final = frozenset({"delivery.timeout.ms", "message.timeout.ms"})
_PRODUCER_RULES: Final[dict[str, Any]] = {
    # Java's hash: librdkafka's own default would put a customer on another partition.
    "partitioner": "murmur2_random",
    "acks": "all",
    "enable.idempotence": True,
}
_CONSUMER_RULES: Final[dict[str, Any]] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
}
_PRODUCER_ONLY: Final = frozenset(
    "linger.ms queue.buffering.max.ms queue.buffering.max.messages queue.buffering.max.kbytes "
    "batch.size batch.num.messages compression.type compression.codec compression.level "
    "delivery.timeout.ms message.timeout.ms request.timeout.ms retries message.send.max.retries "
    "max.in.flight max.in.flight.requests.per.connection transaction.timeout.ms "
    "queue.buffering.backpressure.threshold sticky.partitioning.linger.ms".split()
)
_CONSUMER_ONLY: Final = frozenset(
    "session.timeout.ms heartbeat.interval.ms max.poll.interval.ms "
    "partition.assignment.strategy fetch.wait.max.ms fetch.min.bytes fetch.max.bytes "
    "fetch.message.max.bytes max.partition.fetch.bytes fetch.error.backoff.ms "
    "fetch.queue.backoff.ms queued.min.messages queued.max.messages.kbytes check.crcs "
    "coordinator.query.interval.ms".split()
)


def common_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Return what every client shares; ``extra`` are librdkafka names and win."""
    return {
        **_DEFAULTS,
        "client.id": settings.app.id,
        "logger": _logger,
        "error_cb": log_error,
        "log_level": 4,
        **revealed(settings.kafka),
        **extra,
    }


def admin_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Return the configuration of an ``AdminClient``."""
    return _without(common_config(settings, **extra), _PRODUCER_ONLY | _CONSUMER_ONLY)


def producer_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Return the configuration of a ``Producer``; ``extra`` are librdkafka names and win.

    Example: ``producer_config(settings, **{"transactional.id": "journey-decide-0"})``.
    """
    common = {**_PRODUCER_DEFAULTS, **_without(common_config(settings), _CONSUMER_ONLY)}
    if "transactional.id" in extra:
        # The transaction bounds it; librdkafka refuses a longer one and fits it in if not given.
        common = _without(common, _DELIVERY_TIMEOUT)
    return {**common, **_PRODUCER_RULES, **extra}


def consumer_config(settings: Settings, group: str, **extra: Any) -> dict[str, Any]:
    """Return the configuration of a ``Consumer`` of ``group``: read committed, no auto commit."""
    common = _without(common_config(settings), _PRODUCER_ONLY)
    return {**common, **_CONSUMER_RULES, "group.id": group, **extra}


def bootstrap_servers(settings: Settings) -> list[str]:
    """Return the brokers' addresses, ``host:port`` each."""
    text = settings.kafka.get("bootstrap.servers") or settings.kafka.get("metadata.broker.list")
    return [server.strip() for server in str(text).split(",") if server.strip()]


def revealed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties as libraries take them: secrets in clear, never to be kept or shown."""
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in properties.items()
    }


def _without(config: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


# ---------------------------------------------------------------------- logging in outages


class Calm(logging.Filter):
    """Lets a kind of line through once in ``QUIET_S``, with the number of those held back."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this line may be written now."""
        # librdkafka logs "%s [%s] %s": facility, client, text. One kind = one facility or error.
        kind = str(record.args[0]) if isinstance(record.args, tuple) and record.args else record.msg
        now = monotonic()
        if now - self._last.get(kind, -QUIET_S) < QUIET_S:
            self._held[kind] += 1
            return False
        self._last[kind] = now
        if held := self._held.pop(kind, 0):
            record.msg = f"{record.msg} (and {held} more of this kind)"
        return True


_logger = logging.getLogger("orchestrator.kafka.client")
_logger.addFilter(Calm())


def log_error(error: KafkaError) -> None:
    """Log a client's state; the role that waits decides what it means."""
    level = logging.ERROR if error.fatal() else logging.WARNING
    _logger.log(level, "%s %s", error.name(), error.str())
