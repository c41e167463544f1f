"""Canonical events, one JSON object a line: what ``load`` takes as it is and ``simulate`` reads.

    {"type": "order.completed", "occurred_at": "2017-01-03T18:04:00Z",
     "identities": {"household_id": "1124"}, "properties": {"amount": 24.5}}

``occurred_at`` is ISO 8601 with offset, or epoch ms, after 1970. ``event_id`` and ``source`` may be left out: the id
is then made of the source, the file and the line's byte offset, so that a line read again is a
duplicate and not a new event. Nested properties are flattened, see ``flatten``.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from orchestrator.errors import NO_JSON, InputError
from orchestrator.expressions.instants import MAX_INSTANT
from orchestrator.ids import event_id
from orchestrator.records import Event
from orchestrator.sources.flatten import flatten

IDENTITY_BYTES = 4096
"""How much of a file's beginning tells it from others of the same name."""


class _Line(Struct, forbid_unknown_fields=True):
    type: str
    occurred_at: int | str
    identities: dict[str, str]
    properties: dict[str, Any] = {}
    event_id: str = ""
    source: str = ""


_decoder = msgspec.json.Decoder(_Line)


class Line(NamedTuple):
    """One line of a file and the offset of its first byte (uncompressed)."""

    offset: int
    data: bytes


def open_lines(path: Path) -> BufferedIOBase:
    """Open a file for reading bytes; ``.gz`` is unpacked on the way."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def file_identity(path: Path) -> str:
    """Return what names a file in event ids: its name and its beginning, not its folder."""
    with open_lines(path) as file:
        head = file.read(IDENTITY_BYTES)
    return f"{path.name.removesuffix('.gz')}:{sha256(head).hexdigest()[:16]}"


def read_lines(path: Path, start: int = 0, *, blank: bool = False) -> Iterator[Line]:
    """Yield every line (``blank``: also those without content) from byte offset ``start`` on."""
    with open_lines(path) as file:
        file.seek(start)
        offset = start
        for data in file:
            if blank or data.strip():
                yield Line(offset, data)
            offset += len(data)


def parse_line(data: bytes, source: str, file: str, offset: int) -> Event:
    """Return the event of one line.

    Args:
        data: The line; a trailing line break does no harm.
        source: Name of the source for lines that do not name one.
        file: What ``file_identity`` gave.
        offset: Byte offset of the line in the uncompressed file.

    Raises:
        InputError: No canonical event; the text says what is wrong, the cause is ``bad_line``.
    """
    try:
        line = _decoder.decode(data)
        occurred_at = _instant(line.occurred_at)
    except (*NO_JSON, msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise InputError(f"{file} at byte {offset}: {error}", "bad_line") from error
    if not line.type or not line.identities:
        raise InputError(f"{file} at byte {offset}: type and identities are needed", "bad_line")
    origin = line.source or source
    return Event(
        event_id=line.event_id or event_id(origin, file, str(offset)),
        type=line.type,
        occurred_at=occurred_at,
        identities=line.identities,
        source=origin,
        properties=flatten(line.properties),
    )


def _instant(value: int | str) -> int:
    at = value if isinstance(value, int) else _of_text(value)
    if not 0 < at <= MAX_INSTANT:
        # Kafka takes 0 for "now", and records have no time before 1970.
        raise ValueError(f"occurred_at is {at} ms, outside the years 1970 to 9999")
    return at


def _of_text(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"occurred_at {text!r} has no offset; write 2026-03-01T09:00:00Z")
    return round(moment.timestamp() * 1000)
