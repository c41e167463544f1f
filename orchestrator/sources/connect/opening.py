"""One record of somebody's topic -> what a mapping reads of it. Pure but for schemas' memory.

==============  ====================================================================================
``avro``        registry's wire format; types become plain ones, see ``mappings.plain``
``json``        one object, with or without the wire format's five bytes of JSON Schema serializers
``cloudevents`` structured JSON or binary mode; ``record`` is the data, ``header["ce_type"]`` and the
                other attributes stand in both modes; source and id make the event_id
``debezium``    a row's change, Avro or JSON: ``record`` is the row as it is (a deleted one: as it
                was), ``before`` as it was, ``change.op`` c, u, d or r beside the fields of `source`;
                rows of a snapshot are history
==============  ====================================================================================

Everywhere ``header["name"]`` (lower case), ``key.NAME`` (a plain key: ``key.value``), ``kafka.topic``,
``kafka.time``, ``kafka.type`` (Avro's full name of the record). A tombstone says nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from orchestrator.codec.wire import MAGIC, PREFIX_BYTES
from orchestrator.errors import NO_JSON, InputError
from orchestrator.expressions.instants import parse_instant
from orchestrator.expressions.records import BEFORE, CHANGE, KAFKA, KEY, Record
from orchestrator.sources.connect.schemas import Datum
from orchestrator.sources.mappings import Arrival

BAD_RECORD: Final = "bad_record"
_CE: Final = "ce_"
_STRUCTURED: Final = "application/cloudevents"
_REQUIRED: Final = ("ce_id", "ce_source", "ce_type")
_SILENT: Final = frozenset("tm")
"""Debezium's operations that are of no row: truncate, message."""
_VOLATILE: Final = frozenset({"version", "sequence", "ts_us", "ts_ns"})
"""Fields of ``source`` that a repetition after a restart or upgrade need not repeat."""
_sorted = msgspec.json.Encoder(order="sorted")


class Incoming(NamedTuple):
    """One record as Kafka gave it; ``at`` is its timestamp, epoch ms, None = it has none."""

    topic: str
    partition: int
    offset: int
    at: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Opened(NamedTuple):
    """What a mapping reads. ``history``: it tells of the past and must start nothing."""

    record: Record
    arrival: Arrival
    history: bool = False


class Schemas(Protocol):
    """Where Avro's bytes become values; see ``WriterSchemas``."""

    def decode(self, value: bytes, wanted: frozenset[str] | None = None) -> Datum:
        """Return the value; raises DecodeError or SchemaNotLoaded."""
        ...


class Opener:
    """Opens records in one format.

    Args:
        format_: As in the mapping.
        schemas: Where Avro's schemas come from.
        wanted: The fields of the record that are read; others need not be decoded.
        reads_key: Whether anybody reads the key: only then it must be readable.
    """

    def __init__(
        self, format_: str, schemas: Schemas, wanted: frozenset[str], *, reads_key: bool
    ) -> None:
        self._schemas = schemas
        self._wanted = frozenset(name.partition(".")[0] for name in wanted)
        self._reads_key = reads_key or format_ == "debezium"
        self._open = {
            "avro": self._avro,
            "json": self._json,
            "cloudevents": self._cloudevent,
            "debezium": self._change,
        }[format_]

    def open(self, incoming: Incoming) -> Opened | None:
        """Return what is in a record; None = nothing that anybody could map.

        Raises:
            PoisonError: It is not in this format; the cause is a closed word.
            SchemaNotLoaded: Its schema is being fetched.
        """
        return self._open(incoming)

    # -------------------------------------------------------------------------- formats

    def _avro(self, incoming: Incoming) -> Opened | None:
        if incoming.value is None:
            return None
        datum = self._schemas.decode(incoming.value, self._wanted)
        return self._plain(incoming, datum)

    def _json(self, incoming: Incoming) -> Opened | None:
        if incoming.value is None:
            return None
        return self._plain(incoming, Datum("", _json(_unframed(incoming.value))))

    def _plain(self, incoming: Incoming, datum: Datum) -> Opened:
        place = (incoming.topic, str(incoming.partition), str(incoming.offset), str(incoming.at))
        # With its time, because a topic that was made anew counts from zero again.
        arrival = Arrival(incoming.at, place, _texts(incoming), self._roots(incoming, datum.type))
        return Opened(_object(datum.value, "a record"), arrival)

    def _cloudevent(self, incoming: Incoming) -> Opened | None:
        header = _texts(incoming)
        content = header.get("content-type", "")
        if content.startswith(_STRUCTURED):
            if not content.removeprefix(_STRUCTURED).startswith("+json"):
                raise InputError(
                    f"structured CloudEvents are read as JSON, not {content}", BAD_RECORD
                )
            datum = self._structured(_json(incoming.value or b""), header)
        elif "ce_specversion" in header:
            datum = self._data(incoming.value, content)
        elif incoming.value is None:
            return None
        else:
            raise InputError(
                "no CloudEvent: neither content-type application/cloudevents+json nor header"
                " ce_specversion",
                BAD_RECORD,
            )
        if missing := [name for name in _REQUIRED if not header.get(name)]:
            raise InputError(f"a CloudEvent without {', '.join(missing)}", BAD_RECORD)
        at = incoming.at
        if time := header.get("ce_time"):
            at = parse_instant(time)
            if at is None:
                raise InputError(f"ce_time is {time!r}, which is no instant", "bad_time")
        stable = ("cloudevent", header["ce_source"], header["ce_id"])
        arrival = Arrival(at, stable, header, self._roots(incoming, datum.type))
        return Opened(_object(datum.value, "data"), arrival)

    def _structured(self, event: Any, header: dict[str, str]) -> Datum:
        attributes = dict(_object(event, "a CloudEvent"))
        data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
        header |= {
            _CE + name: _text(value) for name, value in attributes.items() if value is not None
        }
        if encoded is None:
            return Datum("", {} if data is None else data)
        try:
            raw = base64.b64decode(str(encoded), validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"data_base64 is no base64: {error}", BAD_RECORD) from error
        return self._data(raw, str(attributes.get("datacontenttype") or ""))

    def _data(self, value: bytes | None, content: str) -> Datum:
        if not value:
            return Datum("", {})
        if value[0] == MAGIC and "json" not in content:  # no JSON begins so
            return self._schemas.decode(value, self._wanted)
        if content.startswith("text/") and "json" not in content:
            return Datum("", {"data": _utf8(value)})
        return Datum("", _json(_unframed(value)))

    def _change(self, incoming: Incoming) -> Opened | None:
        if incoming.value is None:
            return None
        if incoming.value[:1] == bytes((MAGIC,)):
            envelope = self._schemas.decode(incoming.value).value
        else:
            envelope = _json(incoming.value)
        if isinstance(envelope, Mapping) and envelope.keys() == {"schema", "payload"}:
            envelope = envelope["payload"]
        if not isinstance(envelope, Mapping) or not {"op", "source"} <= envelope.keys():
            raise InputError(
                "no change of Debezium's: op and source are missing; for unwrapped rows use format"
                " json or avro",
                BAD_RECORD,
            )
        op = envelope["op"]
        if not isinstance(op, str):
            raise InputError(f"op is a letter, not {type(op).__name__}", BAD_RECORD)
        if op in _SILENT:
            return None
        roots = self._roots(incoming, "")
        before, after = _row(envelope.get("before")), _row(envelope.get("after"))
        # With a weak replica identity nothing is told of a deleted row but its key.
        row = after if after is not None else before or roots[KEY]
        source = _object(envelope["source"], "source")
        roots |= {BEFORE: before or {}, CHANGE: {**source, "op": op}}
        told = source.get("ts_ms") or envelope.get("ts_ms")
        at = told if isinstance(told, int) and told > 0 else incoming.at
        position = {name: said for name, said in source.items() if name not in _VOLATILE}
        parts = (_sorted.encode(position), incoming.key or b"", _sorted.encode([op, before, after]))
        stable = ("change", *(sha256(part).hexdigest() for part in parts))
        arrival = Arrival(at, stable, _texts(incoming), roots, deleted=op == "d")
        return Opened(row, arrival, history=op == "r" or _is_snapshot(source.get("snapshot")))

    # ----------------------------------------------------------------------------- parts

    def _roots(self, incoming: Incoming, type_: str) -> dict[str, Record]:
        kafka = {"topic": incoming.topic, "time": incoming.at, "type": type_}
        return {KAFKA: kafka, KEY: self._key(incoming.key) if self._reads_key else {}}

    def _key(self, key: bytes | None) -> Record:
        if key is None:
            return {}
        if len(key) > PREFIX_BYTES and key[0] == MAGIC:
            found = self._schemas.decode(key).value
        elif key.lstrip()[:1] == b"{":
            found = _json(key)
            if isinstance(found, Mapping) and found.keys() == {"schema", "payload"}:
                found = found["payload"]
        else:
            found = _utf8(key)
        return found if isinstance(found, Mapping) else {"value": found}


def _texts(incoming: Incoming) -> dict[str, str]:
    return {name.lower(): value.decode(errors="replace") for name, value in incoming.headers}


def _unframed(value: bytes) -> bytes:
    return value[PREFIX_BYTES:] if value[:1] == bytes((MAGIC,)) else value


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except NO_JSON as error:
        raise InputError(f"no JSON: {error}", BAD_RECORD) from error


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"neither Avro nor JSON nor UTF-8: {error}", BAD_RECORD) from error


def _object(value: Any, what: str) -> Record:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is an object, not {type(value).__name__}", BAD_RECORD)
    return value


def _row(value: Any) -> Record | None:
    """Return a row; MongoDB's connector tells documents as texts."""
    if value is None:
        return None
    return _object(_json(value.encode()) if isinstance(value, str) else value, "a row")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_snapshot(said: object) -> bool:
    return said is not None and said is not False and said != "false"
