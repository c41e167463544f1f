"""Records to bytes and back, without ever touching the network on the way.

``prepare`` is called once for the topics that a role writes; from then on ``encode`` is pure.
``decode`` of a schema id that was not met before raises ``SchemaNotLoaded``; the caller runs
``load`` (in a thread, if it has a loop) and decodes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from orchestrator.codec.avro import Decode, decoder, encoder, full_name, schema_text
from orchestrator.codec.registry import RegistryClient
from orchestrator.codec.wire import PREFIX_BYTES, prefix, schema_id
from orchestrator.errors import DecodeError, FatalError, SchemaNotLoaded, TopologyError
from orchestrator.records import (
    Absorb,
    Action,
    CatalogSwitch,
    Decision,
    Definition,
    Delivery,
    Event,
    Forget,
    Inbox,
    Link,
    Merge,
    Model,
    Outcome,
    Record,
    Skip,
)

TOPIC_RECORDS: Mapping[str, tuple[type[Record], ...]] = {
    "events": (Event, Link, Forget, CatalogSwitch, Skip),
    "timeline": (Event, Merge, Absorb, Forget, CatalogSwitch, Model, Skip),
    "actions": (Action,),
    "deliveries": (Delivery,),
    "inbox": (Inbox,),
    "decisions": (Decision,),
    "outcomes": (Outcome, CatalogSwitch),
    "models": (Model,),
    "definitions": (Definition, CatalogSwitch),
}
"""What lies on which topic, by logical name. A tick has no value, a dead letter has its own."""

NEGATIVE_SECONDS = 30.0
"""So long an id that the registry did not know is not asked for again."""

Subject = Callable[[str, str], str]
"""(topic, full name of the record) -> subject."""


def topic_record_name(topic: str, record: str) -> str:
    """TopicRecordNameStrategy, the default.

    TopicNameStrategy is not offered: several types share a topic.
    """
    return f"{topic}-{record}"


def record_name(topic: str, record: str) -> str:  # noqa: ARG001 - the signature is the strategy's
    """RecordNameStrategy: one subject for a type, wherever it is written."""
    return record


SUBJECT_STRATEGIES: Mapping[str, Subject] = {
    "topic_record": topic_record_name,
    "record": record_name,
}


class Codec:
    """Encodes and decodes values in the Confluent wire format; safe to share between threads.

    Args:
        registry: Where schemas are looked up.
        subject: Names the subject under which a topic's record is registered.
        auto_register: Register what is missing (dev only) instead of refusing.
        monotonic: A clock in seconds, for the memory of unknown ids.
    """

    def __init__(
        self,
        registry: RegistryClient,
        *,
        subject: Subject = topic_record_name,
        auto_register: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._subject = subject
        self._auto_register = auto_register
        self._monotonic = monotonic
        self._encoders: dict[tuple[str, type], tuple[Callable[[Record, bytes], bytes], bytes]] = {}
        self._decoders: dict[bytes, Decode] = {}
        self._unknown: dict[int, float] = {}

    def prepare(self, topics: Mapping[str, str]) -> None:
        """Learn the schema ids for what is written to ``topics`` (topic -> logical name). Blocks.

        Raises:
            RegistryUnavailable: Try again later.
            TopologyError: A schema is not registered and may not be registered from here.
            CouldNotRun: The registry refuses a schema.
        """
        for topic, logical in topics.items():
            for record in TOPIC_RECORDS.get(logical, ()):
                number = self._schema_id(topic, record)
                self._encoders[topic, record] = (encoder(record), prefix(number))
                self._decoders.setdefault(prefix(number), decoder(schema_text(record)))

    def encode(self, record: Record, topic: str) -> bytes:
        """Return the value of ``record`` for ``topic``.

        Raises:
            InputError: A value does not fit the schema.
            FatalError: ``prepare`` was not called for this topic, or the record is not its kind.
        """
        try:
            encode, start = self._encoders[topic, type(record)]
        except KeyError:
            name = full_name(type(record))
            raise FatalError(f"{name} was not prepared for topic {topic}") from None
        return encode(record, start)

    def decode(self, value: bytes) -> Record:
        """Return the record that ``value`` holds.

        Raises:
            DecodeError: No record of ours.
            SchemaNotLoaded: Call ``load`` with its ``schema_id``, then decode again.
        """
        decode = self._decoders.get(value[:PREFIX_BYTES])
        if decode is None:
            raise self._not_loaded(schema_id(value))
        return decode(value)

    def load(self, schema_id: int) -> None:
        """Fetch the schema with this id. Blocks.

        Raises:
            RegistryUnavailable: Try again later; this says nothing about the record.
            DecodeError: The registry does not know the id (``unknown_schema``), or the schema is
                none of ours.
        """
        start = prefix(schema_id)
        if start in self._decoders:
            return
        text = self._registry.schema(schema_id)
        if text is None:
            self._unknown[schema_id] = self._monotonic() + NEGATIVE_SECONDS
            raise _unknown_schema(schema_id)
        self._unknown.pop(schema_id, None)
        try:
            self._decoders[start] = decoder(text)
        except DecodeError as error:
            # The registry's answer for an id never changes: remember what it means for us.
            self._decoders[start] = _refusal(str(error), error.cause)
            raise

    def _not_loaded(self, number: int) -> SchemaNotLoaded | DecodeError:
        if self._monotonic() < self._unknown.get(number, 0.0):
            return _unknown_schema(number)
        return SchemaNotLoaded(number)

    def _schema_id(self, topic: str, record: type[Record]) -> int:
        subject, text = self._subject(topic, full_name(record)), schema_text(record)
        if self._auto_register:
            return self._registry.register(subject, text)
        number = self._registry.lookup(subject, text)
        if number is None:
            raise TopologyError(
                f"the schema registry has not this version of {full_name(record)} under subject "
                f"{subject}: run `orchestrator schemas register`"
            )
        return number


def _unknown_schema(number: int) -> DecodeError:
    return DecodeError(f"the registry does not know schema id {number}", "unknown_schema")


def _refusal(message: str, cause: str) -> Decode:
    def refuse(value: bytes) -> Record:  # noqa: ARG001 - stands where a decoder stands
        raise DecodeError(message, cause)

    return refuse
