"""Avro as other teams write it: any schema of the registry, read down to what mappings ask for.

Subjects do not matter to a reader: a value names its schema by id, whatever strategy its writer uses,
and several types of records may share a topic. A schema that was not met before is fetched in a
thread of its own, which asks until the registry answers; meanwhile its partition waits, and no other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from struct import error as StructError  # noqa: N812
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from orchestrator.codec import RegistryClient
from orchestrator.codec.wire import PREFIX_BYTES, schema_id
from orchestrator.errors import DecodeError, RegistryUnavailable, SchemaNotLoaded
from orchestrator.observability import get_logger
from orchestrator.sources.mappings.plain import plain

RETRY_S: Final = 1.0
UNKNOWN_S: Final = 30.0
"""So long an id that the registry did not know is not asked for again."""
_BROKEN: Final = (
    *(EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError),
    *(StructError, AttributeError, ArithmeticError),
)
"""What broken bytes, and values that Python's calendar or decimals do not know, make a reader raise."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Datum:
    """One value and the full name of its record type; empty for what is no record."""

    type: str
    value: Any


class _Writer:
    """One writer's schema, behind those that it refers to."""

    def __init__(self, texts: Sequence[str]) -> None:
        *referred, text = map(json.loads, texts)
        self._referred: dict[str, Any] = {}
        for schema in referred:
            parse_schema(schema, named_schemas=self._referred)
        self._schema: Any = text
        self._parsed: Any = parse_schema(text, named_schemas=dict(self._referred))
        self.type = str(self._parsed.get("name", "")) if isinstance(self._parsed, dict) else ""
        self._readers: dict[frozenset[str], Any] = {}

    def read(self, value: bytes, wanted: frozenset[str] | None) -> Any:
        stream = BytesIO(value)
        stream.seek(PREFIX_BYTES)
        reader = None if wanted is None else self._reader(wanted)
        found = plain(schemaless_reader(stream, self._parsed, reader))
        if stream.read(1):
            raise ValueError("bytes are left over")
        return found

    def _reader(self, wanted: frozenset[str]) -> Any:
        if wanted not in self._readers:
            self._readers[wanted] = self._projected(wanted)
        return self._readers[wanted]

    def _projected(self, wanted: Collection[str]) -> Any:
        """Return the schema with these fields alone; None = all of it."""
        if not self.type or "fields" not in self._schema:
            return None
        fields = [one for one in self._schema["fields"] if one["name"] in wanted]
        pruned = {**self._schema, "fields": fields}
        try:
            return parse_schema(pruned, named_schemas=dict(self._referred))
        except UnknownType:
            return None  # a field that is wanted uses a type that stands in one that is not


class WriterSchemas:
    """Every schema that was met. ``decode`` never asks the network; safe to share between threads."""

    def __init__(
        self, registry: RegistryClient, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._known: dict[int, _Writer | DecodeError] = {}
        self._unknown: dict[int, float] = {}
        self._asked: set[int] = set()
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(1, "schemas")
        self.problem = ""
        """Why the registry does not answer; empty while it does."""

    def decode(self, value: bytes, wanted: frozenset[str] | None = None) -> Datum:
        """Return the value, plain; ``wanted`` names the fields that are looked at, None = all.

        Raises:
            DecodeError: The bytes do not fit their schema, or there is no such schema.
            SchemaNotLoaded: It is being fetched: come again when ``settled``.
        """
        number = schema_id(value)
        known = self._known.get(number)
        if known is None:
            if self._monotonic() < self._unknown.get(number, 0.0):
                raise _unknown(number)
            self._fetch(number)
            raise SchemaNotLoaded(number)
        if isinstance(known, DecodeError):
            raise DecodeError(str(known), known.cause)
        try:
            return Datum(known.type, known.read(value, wanted))
        except (*_BROKEN, SchemaResolutionError) as error:
            name = known.type or f"schema {number}"
            raise DecodeError(f"bytes do not match the schema of {name}: {error!r}") from error

    def settled(self, number: int) -> bool:
        """Whether the registry has answered for this id."""
        return number not in self._asked

    def close(self) -> None:
        """Ask no more."""
        self._stopped.set()
        self._threads.shutdown()

    def _fetch(self, number: int) -> None:
        if number not in self._asked:
            self._asked.add(number)
            self._threads.submit(self._ask, number)

    def _ask(self, number: int) -> None:
        while not self._stopped.is_set():
            try:
                texts = self._registry.schema_texts(number)
            except RegistryUnavailable as away:
                _log.warning("waiting for the schema registry", error=str(away))
                self.problem = str(away)
                self._stopped.wait(RETRY_S)
                continue
            self.problem = ""
            if texts is None:
                self._unknown[number] = self._monotonic() + UNKNOWN_S
            else:
                self._known[number] = _parsed(texts)
            self._asked.discard(number)
            return


def _parsed(texts: Sequence[str]) -> _Writer | DecodeError:
    try:
        return _Writer(texts)
    except (*_BROKEN, SchemaParseException, UnknownType) as error:
        # The registry's answer for an id never changes: remembered like a good one.
        return DecodeError(f"the writer's schema is none that can be read: {error}", "bad_schema")


def _unknown(number: int) -> DecodeError:
    return DecodeError(f"the registry does not know schema id {number}", "unknown_schema")
