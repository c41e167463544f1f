"""Writing a record as its schema says, worked out once: the bytes of ``fastavro`` at a third of the cost.

Decisions and actions leave for every third event or so, and looking every field up in the schema
again costs more than deciding. What is not plainly a field's own type is not written here: the caller
lets ``fastavro`` judge it. A test holds the two writers against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from struct import Struct as Packed
from typing import Any

from orchestrator.codec.event_writer import Unusual, write_long, write_text

Write = Callable[[bytearray, Any], None]
_double = Packed("<d").pack
_MOST_INT = 2**31
_BRANCHES: Mapping[str, type] = {
    "null": type(None),
    "boolean": bool,
    "long": int,
    "double": float,
    "string": str,
}


def record_writer(schema: Mapping[str, Any]) -> Callable[[Any, bytes], bytes]:
    """Return ``write(record, prefix) -> bytes`` for records of one schema.

    It raises Unusual (or UnicodeEncodeError) where ``fastavro`` must be asked.
    """
    write = _record(schema)

    def written(record: Any, prefix: bytes) -> bytes:
        out = bytearray(prefix)
        write(out, record)
        return bytes(out)

    return written


def _record(schema: Mapping[str, Any]) -> Write:
    fields = schema["fields"]
    values_of = attrgetter(*(field["name"] for field in fields))
    writers = [_writer(field["type"]) for field in fields]

    def write(out: bytearray, record: Any) -> None:
        for each, value in zip(writers, values_of(record), strict=True):
            each(out, value)

    return write


def _writer(schema: Any) -> Write:  # noqa: PLR0911 - one for each kind of schema
    match schema:
        case str():
            return _plain(schema)
        case ["null", other]:
            return _optional(_writer(other))
        case list():
            return _one_of(schema)
        case {"type": "record"}:
            return _record(schema)
        case {"type": "array", "items": items}:
            return _array(_writer(items))
        case {"type": "map", "values": values}:
            return _map(_writer(values))
        case {"type": "enum", "symbols": symbols}:
            return _symbol(symbols)
        case _:
            return _writer(schema["type"])


def _plain(name: str) -> Write:
    return {
        "null": _null,
        "boolean": _boolean,
        "int": _int,
        "long": write_long,
        "double": _number,
        "string": write_text,
    }[name]


def _null(_out: bytearray, value: Any) -> None:
    if value is not None:
        raise Unusual


def _boolean(out: bytearray, value: Any) -> None:
    if type(value) is not bool:
        raise Unusual
    out.append(value)


def _int(out: bytearray, value: Any) -> None:
    if type(value) is not int or not -_MOST_INT <= value < _MOST_INT:
        raise Unusual
    write_long(out, value)


def _number(out: bytearray, value: Any) -> None:
    if type(value) is not float:
        raise Unusual
    out += _double(value)


def _optional(write: Write) -> Write:
    def optional(out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(2)
            write(out, value)

    return optional


def _one_of(schemas: list[Any]) -> Write:
    """Return the writer of a union of plain types."""
    branches = {
        _BRANCHES[name]: (number << 1, _writer(name)) for number, name in enumerate(schemas)
    }

    def one_of(out: bytearray, value: Any) -> None:
        branch = branches.get(type(value))
        if branch is None:
            raise Unusual
        out.append(branch[0])
        branch[1](out, value)

    return one_of


def _symbol(symbols: list[str]) -> Write:
    numbers = {symbol: number << 1 for number, symbol in enumerate(symbols)}

    def symbol(out: bytearray, value: Any) -> None:
        number = numbers.get(value) if type(value) is str else None
        if number is None:
            raise Unusual
        out.append(number)

    return symbol


def _map(write: Write) -> Write:
    def mapping(out: bytearray, values: Any) -> None:
        if type(values) is not dict:
            raise Unusual
        if values:
            write_long(out, len(values))
            for name, value in values.items():
                write_text(out, name)
                write(out, value)
        out.append(0)

    return mapping


def _array(write: Write) -> Write:
    def array(out: bytearray, values: Any) -> None:
        if type(values) is not list:
            raise Unusual
        if values:
            write_long(out, len(values))
            for value in values:
                write(out, value)
        out.append(0)

    return array
