"""A file as pieces of bytes, each a record, and the record of a piece.

A piece's ``offset`` is where it begins in the unpacked file (json: which element it is), and ``end``
where a load continues behind it. In CSV an empty cell is a field that is not there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from orchestrator.errors import NO_JSON, InputError, UsageError
from orchestrator.expressions.records import Record
from orchestrator.sources.inputs import Piece, unpacked_size
from orchestrator.sources.ndjson import open_lines, read_lines

MAX_ROW: Final = 1024 * 1024
"""A quote that is never closed would take the rest of the file for one row."""
_BOM: Final = b"\xef\xbb\xbf"


class Rows(Protocol):
    """One file of one format."""

    columns: tuple[str, ...] | None
    """The names of its fields, if the format knows them."""
    size: int | None
    """What the last ``end`` will be, if anybody knows."""

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Yield the records from ``start``, which is an ``end``, on."""
        ...

    def records(self, data: bytes) -> list[Record]:
        """Return the records of one piece, or of several that were joined.

        Raises:
            InputError: ``bad_line``.
        """
        ...


class CsvRows:
    """CSV with a header line, RFC 4180: quotes are doubled, a quoted cell may hold line breaks.

    Raises:
        UsageError: There is no header, or it names a column twice.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        self._path = path
        self._delimiter = delimiter
        self.size = unpacked_size(path)
        first = next(_joined(path, 0), None)
        try:
            names = [] if first is None else self._cells(first.data.removeprefix(_BOM))[0]
        except InputError as error:
            raise UsageError(f"{path}: the header line: {error}") from error
        if first is None or not any(names):
            raise UsageError(f"{path}: there is no header line")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"{path}: the header names {', '.join(twice)} twice")
        self._begin = first.end
        self._names = names
        self.columns: tuple[str, ...] | None = tuple(names)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Rows``."""
        return _joined(self._path, max(start, self._begin))

    def records(self, data: bytes) -> list[Record]:
        """See ``Rows``."""
        found: list[Record] = []
        for cells in self._cells(data):
            if len(cells) != len(self._names):
                raise InputError(
                    f"{len(cells)} cells, and the header names {len(self._names)}", "bad_line"
                )
            pairs = zip(self._names, cells, strict=True)
            found.append({name: cell for name, cell in pairs if cell})
        return found

    def _cells(self, data: bytes) -> list[list[str]]:
        try:
            # Only \n ends a line here, as in ``read_lines``: cells hold all kinds of others.
            lines = StringIO(data.decode(), newline="\n")
            rows = csv.reader(lines, delimiter=self._delimiter, strict=True)
            return [cells for cells in rows if cells]
        except UnicodeDecodeError as error:
            raise InputError(f"not UTF-8 at byte {error.start} of the line", "bad_line") from error
        except csv.Error as error:
            raise InputError(f"no CSV: {error}", "bad_line") from error


class NdjsonRows:
    """One JSON object a line."""

    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = unpacked_size(path)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Rows``."""
        for line in read_lines(self._path, start):
            yield Piece(line.offset, line.data, line.offset + len(line.data))

    def records(self, data: bytes) -> list[Record]:
        """See ``Rows``."""
        return [json_record(line) for line in data.split(b"\n") if line.strip()]


class JsonRows:
    """One document: an object, or an array of objects. It is read into memory whole."""

    columns: tuple[str, ...] | None = None
    size: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Rows``."""
        with open_lines(self._path) as file:
            data = file.read().removeprefix(_BOM)
        try:
            elements = elements_of(data)
        except InputError as error:
            raise UsageError(f"{self._path}: {error}") from error
        for number, element in enumerate(elements[start:], start):
            yield Piece(number, element, number + 1)

    def records(self, data: bytes) -> list[Record]:
        """See ``Rows``."""
        return [json_record(data)]


def json_record(data: bytes) -> Record:
    """Return one JSON object.

    Raises:
        InputError: ``bad_line``.
    """
    try:
        record: Any = msgspec.json.decode(data)
    except NO_JSON as error:
        raise InputError(f"no JSON: {error}", "bad_line") from error
    if not isinstance(record, dict):
        raise InputError(f"a record is a JSON object, not {type(record).__name__}", "bad_line")
    return record


def elements_of(data: bytes) -> list[bytes]:
    """Return the elements of a JSON array, or the one document, each with its own bytes.

    Raises:
        InputError: ``bad_line``.
    """
    if not data.lstrip().startswith(b"["):
        return [data]
    try:
        return [bytes(raw) for raw in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except NO_JSON as error:
        raise InputError(f"no JSON: {error}", "bad_line") from error


def _joined(path: Path, start: int) -> Iterator[Piece]:
    """Yield rows: lines, joined while a quote is open."""
    lines: list[Piece] = []
    size = quotes = 0
    for line in read_lines(path, start, blank=True):
        piece = Piece(line.offset, line.data, line.offset + len(line.data))
        marks = line.data.count(b'"')
        if not lines and not marks % 2:  # the usual case
            if line.data.strip():
                yield piece
            continue
        lines.append(piece)
        size += len(line.data)
        quotes += marks
        if quotes % 2 and size <= MAX_ROW:
            continue
        if quotes % 2:
            yield from lines  # never closed: each for itself, most are sound
        else:
            yield Piece(lines[0].offset, b"".join(each.data for each in lines), piece.end)
        lines, size, quotes = [], 0, 0
    yield from (each for each in lines if each.data.strip())
