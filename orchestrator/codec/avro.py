"""Avro schemas of the records, and the step between bytes and structs.

The schemas are read from ``schemas/avro`` in a checkout and from the package in a wheel. Logical
types are dropped for reading and writing: timestamps stay integers, no datetime is ever made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from io import BytesIO
from pathlib import Path
from struct import error as StructError  # noqa: N812
from typing import Any, get_args

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType
from msgspec import Struct
from msgspec.structs import asdict

from orchestrator.codec.decision_writer import write_action, write_decision
from orchestrator.codec.event import read_event
from orchestrator.codec.event_writer import write_event
from orchestrator.codec.pieces import NOT_PLAIN
from orchestrator.codec.wire import PREFIX_BYTES
from orchestrator.errors import DecodeError, InputError
from orchestrator.records import (
    Action,
    Candidate,
    CatalogSwitch,
    Decision,
    Event,
    Inbox,
    InboxMessage,
    Record,
)

Schema = dict[str, Any]
Decode = Callable[[bytes], Record]

RECORD_TYPES: tuple[type[Record], ...] = get_args(Record)
_NESTED: dict[type, tuple[str, type[Struct]]] = {
    Decision: ("candidates", Candidate),
    Inbox: ("messages", InboxMessage),
}
_BY_HAND: dict[type, Callable[[Any, bytes], bytes]] = {
    Event: write_event,
    Decision: write_decision,
    Action: write_action,
}
"""The frequent ones, as their cost counts."""
# What broken bytes make the reader raise: too short, a bad index, bad UTF-8, a bad length.
_BROKEN = (EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
_UNWRITABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


def full_name(record: type[Record]) -> str:
    """Return the schema's full name, by which a record is told apart."""
    return f"journey.{'Catalog' if record is CatalogSwitch else record.__name__}"


TYPE_OF = {full_name(record): record for record in RECORD_TYPES}


def schema_folder() -> Path:
    """Return the folder of the ``.avsc`` files."""
    package = Path(__file__).parents[1]
    shipped = package / "_schemas" / "avro"
    return shipped if shipped.is_dir() else package.parent / "schemas" / "avro"


@cache
def schema_text(record: type[Record]) -> str:
    """Return the schema as it is registered: the file's JSON without its white space."""
    name = full_name(record).removeprefix("journey.")
    text = (schema_folder() / f"{name}.avsc").read_text(encoding="utf-8")
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


@cache
def own_schema(record: type[Record]) -> Schema:
    """Return the parsed schema for reading and writing, without logical types and docs."""
    return _parsed(schema_text(record))


def encoder(record: type[Record]) -> Callable[[Any, bytes], bytes]:
    """Return ``encode(record, prefix) -> bytes`` for one type of record.

    It raises InputError (cause ``unencodable``) if a value does not fit the schema.
    """
    schema = own_schema(record)
    nested = _NESTED[record][0] if record in _NESTED else None

    def encode(item: Struct, prefix: bytes) -> bytes:
        fields = asdict(item)
        if nested is not None:
            fields[nested] = [asdict(part) for part in fields[nested]]
        out = BytesIO()
        out.write(prefix)
        try:
            schemaless_writer(out, schema, fields)
        except _UNWRITABLE as error:
            name = schema["name"]
            raise InputError(
                f"does not fit the schema of {name}: {error}", "unencodable"
            ) from error
        return out.getvalue()

    by_hand = _BY_HAND.get(record)
    if by_hand is None:
        return encode

    def encode_by_hand(item: Any, prefix: bytes) -> bytes:
        try:
            return by_hand(item, prefix)
        except NOT_PLAIN:
            return encode(item, prefix)

    return encode_by_hand


def decoder(writer: str) -> Decode:
    """Return ``decode(value) -> Record`` for values written with the schema ``writer`` (JSON).

    A newer writer's additional fields are passed over, missing ones take their defaults, an
    unknown enum symbol becomes the enum's default.

    Raises:
        DecodeError: The schema is none of ours, or cannot be read as ours.
    """
    try:
        written = _parsed(writer)
        name = str(written["name"])
    except (*_BROKEN, SchemaParseException, UnknownType) as error:
        raise DecodeError(f"the writer's schema is broken: {error}", "bad_schema") from error
    record = TYPE_OF.get(name)
    if record is None:
        raise DecodeError(f"a record of type {name} is none of ours", "foreign_record")
    own = own_schema(record)
    if record is Event and written == own:
        return _decode_event
    make: Callable[..., Record] = record
    # Equal schemas need no resolution, which costs about as much again as the reading.
    reader = None if written == own else own
    nested, part = _NESTED.get(record, (None, Struct))

    def decode(value: bytes) -> Record:
        stream = BytesIO(value)
        stream.seek(PREFIX_BYTES)
        try:
            fields: Any = schemaless_reader(stream, written, reader)
        except (*_BROKEN, SchemaResolutionError) as error:
            raise DecodeError(f"bytes do not match the schema of {name}: {error!r}") from error
        if stream.read(1):
            raise DecodeError(f"bytes are left over after a record of type {name}")
        if reader is not None:
            fields = deepcopy(fields)  # defaults come as the schema's own, shared objects
        if nested is not None:
            fields[nested] = [part(**each) for each in fields[nested]]
        return make(**fields)

    return decode


def _decode_event(value: bytes) -> Record:
    try:
        return read_event(value)
    except (*_BROKEN, StructError) as error:
        raise DecodeError(f"bytes do not match the schema of an event: {error!r}") from error


def _parsed(text: str) -> Schema:
    parsed: Any = parse_schema(_plain(json.loads(text)))
    if not isinstance(parsed, dict):
        raise ValueError("not a record")  # noqa: TRY004 - one class for all broken schemas
    return parsed


def _plain(schema: Any, *, names: bool = False) -> Any:
    """Drop logical types and docs; ``names`` marks a dict whose keys are data (a default)."""
    match schema:
        case dict() if not names:
            return {
                key: _plain(value, names=key == "default")
                for key, value in schema.items()
                if key not in {"logicalType", "doc"}
            }
        case list() if not names:
            return [_plain(each) for each in schema]
        case _:
            return schema
