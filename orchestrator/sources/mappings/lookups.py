"""``lookup``: rows of small CSV files by a key, in memory; only the columns that are read are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from orchestrator.errors import InputError, UsageError
from orchestrator.expressions.records import Record
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.sources.mappings.mapper import Mapper
from orchestrator.sources.mappings.rows import CsvRows

_NOTHING: Final[Record] = {}


class Table:
    """The rows of one lookup."""

    def __init__(self, rows: Mapping[str, Record]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> Record:
        """See ``mapper.Lookup``."""
        return self._rows.get(key, _NOTHING)


def read_lookups(mapper: Mapper, folder: Path) -> dict[str, Table]:
    """Return the tables of a mapping; relative files begin at ``folder``.

    Raises:
        UsageError: A file or a column is missing, a row is broken, or two rows have one key.
    """
    return {
        name: _table(folder / one.file, one.key, mapper.fields(name), mapper.delimiter)
        for name, one in mapper.lookups.items()
    }


def _table(path: Path, key: str, fields: Collection[str], delimiter: str) -> Table:
    if not path.is_file():
        raise UsageError(f"lookup file {path} does not exist")
    rows = CsvRows(path, delimiter)
    check_columns(path, rows.columns, [key, *fields])
    found: dict[str, Record] = {}
    for piece in rows.pieces():
        try:
            records = rows.records(piece.data)
        except InputError as error:
            raise UsageError(f"lookup file {path} at byte {piece.offset}: {error}") from error
        for record in records:
            value = str(record.get(key, "")).strip()
            if value in found:
                raise UsageError(
                    f"lookup file {path}: two rows have {key} {value!r}; a lookup needs one row a key"
                )
            if value:
                found[value] = {name: record[name] for name in fields if name in record}
    return Table(found)


def check_columns(path: Path, columns: Collection[str] | None, wanted: Collection[str]) -> None:
    """Check that a file has the columns that its mapping reads.

    Raises:
        UsageError: It has not; a misspelt column would be null in every line.
    """
    if columns is None:
        return
    for name in sorted(wanted):
        if name not in columns:
            remedy = did_you_mean(name, columns) or f"it has {', '.join(columns)}"
            raise UsageError(f"{path} has no column {name!r}; {remedy}")
