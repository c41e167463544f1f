"""The definitions topic: every definition that was ever applied, and which catalog is in force.

Besides definitions (key: content hash) it holds one Catalog record, key ``catalog``: a copy of the
newest one on the timeline, written in the same transaction. The timeline forgets after its
retention; this topic is compacted, so a connector or sink that starts a year later still finds it.
Workers do not read the copy: for them a catalog takes effect by its record in their own log.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    TopicPartition,
)

from orchestrator.errors import (
    BrokerUnavailable,
    DecodeError,
    DefinitionMissing,
    RegistryUnavailable,
)
from orchestrator.kafka.clients import consumer_config
from orchestrator.kafka.decoding import decode_blocking
from orchestrator.kafka.reading import read_partition
from orchestrator.kafka.topics import Topology
from orchestrator.observability import get_logger
from orchestrator.records import CatalogSwitch, Definition, Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from orchestrator.codec import Codec
    from orchestrator.settings import Settings

CATALOG_KEY: Final = b"catalog"
POLL_S: Final = 0.2

log = get_logger(__name__)


class Definitions:
    """What the topic says so far; filled record by record."""

    def __init__(self) -> None:
        self.by_hash: dict[str, Definition] = {}
        self.catalog: CatalogSwitch | None = None

    def add(self, record: Record) -> None:
        """Take one more record of the topic."""
        match record:
            case Definition():
                self.by_hash[record.hash] = record
            case CatalogSwitch():
                self.catalog = record
            case _:
                log.warning(
                    "record of a foreign type on the definitions topic", record=type(record)
                )

    def forget(self, key: bytes) -> None:
        """A tombstone: this definition was pruned."""
        self.by_hash.pop(key.decode(errors="replace"), None)


def read_definitions(settings: Settings, codec: Codec) -> Definitions:
    """Read the whole topic once. Blocks.

    Raises:
        BrokerUnavailable: The topic could not be read to its end.
        RegistryUnavailable: A schema could not be looked up.
        TopologyError: The topic is missing.
    """
    found = Definitions()
    at_once = threading.Event()
    at_once.set()  # a tool reports that the registry is away; it does not wait for it
    for message in read_partition(settings, Topology(settings).name("definitions"), 0):
        _keep(found, message, _decode(codec, message, at_once))
    return found


def read_catalog(settings: Settings, codec: Codec) -> CatalogSwitch | None:
    """Return the catalog in force, or None if none was ever applied. Blocks.

    Raises:
        As ``read_definitions``.
    """
    return read_definitions(settings, codec).catalog


class DefinitionStore:
    """Follows the definitions topic in a thread of its own; a context manager.

    ``get`` and ``catalog`` never block and may be called from any thread.
    """

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topic = Topology(settings).name("definitions")
        self._known = Definitions()
        self._news = threading.Condition()
        self._at_end = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="definitions", daemon=True)

    def start(self) -> Self:
        """Begin to follow the topic."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop following; what is known stays readable."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def catalog(self) -> CatalogSwitch | None:
        """The newest catalog that the topic has told of."""
        return self._known.catalog

    def get(self, hash_: str) -> Definition | None:
        """Return the definition with this hash if it has arrived."""
        return self._known.by_hash.get(hash_)

    def wait_until_read(self, timeout: float) -> None:
        """Wait until the topic has been read to its end once.

        Raises:
            BrokerUnavailable: That took longer than ``timeout`` seconds.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._at_end, timeout):
                raise BrokerUnavailable(f"{self._topic} cannot be read to its end")

    def wait_for(self, hashes: Iterable[str], timeout: float) -> None:
        """Wait until all definitions with these hashes have arrived.

        Raises:
            DefinitionMissing: Some have not within ``timeout`` seconds.
        """
        wanted = set(hashes)
        with self._news:
            if not self._news.wait_for(lambda: wanted <= self._known.by_hash.keys(), timeout):
                missing = sorted(wanted - self._known.by_hash.keys())
                raise DefinitionMissing(f"not on {self._topic}: {', '.join(missing)}")

    def _follow(self) -> None:
        # The group's name is needed by the client and used for nothing: no offsets, no membership.
        group = f"{self._settings.app.id}-definitions"
        consumer = Consumer(
            consumer_config(self._settings, group, **{"enable.partition.eof": True})
        )
        consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        try:
            while not self._closing.is_set():
                message = consumer.poll(POLL_S)
                if message is not None:
                    self._take(message)
        except RegistryUnavailable:
            pass  # closed while the registry was away
        finally:
            consumer.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            # Decoded first: waiting for the registry must not hold those who wait for news.
            record = _decode(self._codec, message, self._closing)
        with self._news:
            if error is None:
                _keep(self._known, message, record)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                self._at_end = True
            # Any other error is an outage: the client logs it and goes on by itself.
            self._news.notify_all()


def _keep(found: Definitions, message: Message, record: Record | None) -> None:
    if record is not None:
        found.add(record)
    elif message.value() is None:
        found.forget(message.key() or b"")


def _decode(codec: Codec, message: Message, stopped: threading.Event) -> Record | None:
    """Return the record; None for what is no record of ours, which is nobody's loss here."""
    value: Any = message.value()
    if value is None:
        return None
    try:
        return decode_blocking(codec, value, stopped)
    except DecodeError as error:
        log.warning("unreadable definition", offset=message.offset(), error=str(error))
        return None
