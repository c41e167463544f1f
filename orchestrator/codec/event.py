"""Reading an Event by hand: the one record that every stage decodes for every input.

It is what ``fastavro`` does with ``schemas/avro/Event.avsc``, at a third of the cost, since nothing
is looked up in a schema. It is used only if the writer had exactly our schema; a test holds the two
readers against each other.
"""

from __future__ import annotations

from struct import Struct
from struct import error as PackedError  # noqa: N812
from typing import Any

from orchestrator.codec.wire import PREFIX_BYTES
from orchestrator.records import Event, Value

_double = Struct("<d").unpack_from
MAX_SHIFT = 63
"""A varint of a 64-bit number has ten bytes, the last of them shifted by 63."""

# A length below 64 is one byte; everything else (also what is negative) takes the long way.
_SHORT = tuple(code >> 1 if code < 128 and not code & 1 else None for code in range(256))  # noqa: PLR2004
_STEP: tuple[Any, ...] = tuple(None if size is None else size + 1 for size in _SHORT)
"""From a short text's length to behind it; to add None raises."""
_GO_ON_BITS = 128 * (1 + (1 << 7) + (1 << 14) + (1 << 21) + (1 << 28))
_UNUSUAL = (TypeError, ValueError, IndexError, PackedError)


def read_event(value: bytes) -> Event:
    """Return the event in ``value`` (wire format, our own schema).

    Raises:
        ValueError: The bytes are none; IndexError: they end too early.
    """
    try:
        return _read_usual(value)
    except _UNUSUAL:
        return _read_any(value)


def _read_usual(value: bytes) -> Event:
    """Read an event of the usual shape, all in one place, as each call costs what a field does.

    Names and ids are short, maps are one block, and it happened between 1971 and 2039 (six bytes,
    the lowest bit is the sign). Everything else raises, and is read, or refused, the long way.
    """
    step = _STEP
    at, end = PREFIX_BYTES, PREFIX_BYTES + step[value[PREFIX_BYTES]]
    event_id = value[at + 1 : end].decode()
    at, end = end, end + step[value[end]]
    kind = value[at + 1 : end].decode()
    at = end + 6
    a, b, c, d, e, f = value[end:at]
    if a & b & c & d & e < 128 or f > 127 or a & 1:  # noqa: PLR2004 - the bits that say: go on
        raise ValueError("not the usual time")
    occurred_at = (a + (b << 7) + (c << 14) + (d << 21) + (e << 28) + (f << 35) - _GO_ON_BITS) >> 1

    identities: dict[str, str] = {}
    count = value[at]
    at += 1
    if count:
        for _ in range(step[count] - 1):
            end = at + step[value[at]]
            name = value[at + 1 : end].decode()
            at = end + step[value[end]]
            identities[name] = value[end + 1 : at].decode()
        if value[at]:
            raise ValueError("a second block")
        at += 1

    end = at + step[value[at]]
    source = value[at + 1 : end].decode()
    properties, at = _properties(value, end)
    if at != len(value):  # also: a string that claimed more than there is
        raise ValueError("the lengths do not add up")
    return Event(
        event_id=event_id,
        type=kind,
        occurred_at=occurred_at,
        identities=identities,
        source=source,
        properties=properties,
    )


def _read_any(value: bytes) -> Event:
    event_id, at = _string(value, PREFIX_BYTES)
    kind, at = _string(value, at)
    occurred_at, at = _long(value, at)
    identities, at = _identities(value, at)
    source, at = _string(value, at)
    properties, at = _properties(value, at)
    if at != len(value):
        raise ValueError("the lengths do not add up")
    return Event(
        event_id=event_id,
        type=kind,
        occurred_at=occurred_at,
        identities=identities,
        source=source,
        properties=properties,
    )


def _string(value: bytes, at: int) -> tuple[str, int]:
    length = _SHORT[value[at]]
    if length is None:
        length, start = _length(value, at)
    else:
        start = at + 1
    end = start + length
    return value[start:end].decode(), end


def _identities(value: bytes, at: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    while True:
        count, at = _count(value, at)
        if not count:
            return found, at
        for _ in range(count):
            name, at = _string(value, at)
            found[name], at = _string(value, at)


def _properties(value: bytes, at: int) -> tuple[dict[str, Value], int]:
    found: dict[str, Value] = {}
    short = _SHORT
    while True:
        if (count := short[value[at]]) is None:
            count, at = _count(value, at)
        else:
            at += 1
        if not count:
            return found, at
        for _ in range(count):
            if (size := short[value[at]]) is None:
                name, at = _string(value, at)
            else:
                start, at = at + 1, at + 1 + size
                name = value[start:at].decode()
            branch = value[at]
            at += 1
            if branch == 8:  # noqa: PLR2004 - zigzag of 4: the schema's fifth branch
                if (size := short[value[at]]) is None:
                    found[name], at = _string(value, at)
                else:
                    start, at = at + 1, at + 1 + size
                    found[name] = value[start:at].decode()
            elif branch == 4:  # noqa: PLR2004 - a long
                found[name], at = _long(value, at)
            else:
                found[name], at = _rare(value, at, branch)


def _rare(value: bytes, at: int, branch: int) -> tuple[Value, int]:
    if branch == 6:  # noqa: PLR2004 - a double
        return _double(value, at)[0], at + 8
    if branch == 2:  # noqa: PLR2004 - a boolean
        return value[at] == 1, at + 1
    if branch == 0:
        return None, at
    raise ValueError(f"no branch {branch} in a property")


def _long(value: bytes, at: int) -> tuple[int, int]:
    byte = value[at]
    at += 1
    number = byte & 127
    shift = 7
    while byte & 128:
        if (
            shift > MAX_SHIFT
        ):  # here and not behind the loop: rubbish of a megabyte would take minutes
            raise ValueError("a number of more than 64 bits")
        byte = value[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), at


def _length(value: bytes, at: int) -> tuple[int, int]:
    length, at = _long(value, at)
    if length < 0:
        raise ValueError("a negative length")
    return length, at


def _count(value: bytes, at: int) -> tuple[int, int]:
    count = _SHORT[value[at]]
    if count is not None:
        return count, at + 1
    count, at = _long(value, at)
    if count < 0:  # a block that also tells its size in bytes
        _, at = _long(value, at)
        count = -count
    return count, at
