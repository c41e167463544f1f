"""Files whose rows have types: Parquet, and Avro's container. A row's bytes are its JSON.

Such a row has no bytes of its own in the file, so what is sorted, grouped or becomes a dead letter is
its JSON, with all its columns (see ``plain``). A piece's ``offset`` is the number of its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from orchestrator.errors import UsageError
from orchestrator.expressions.records import Record
from orchestrator.sources.inputs import BrokenFile, Piece
from orchestrator.sources.mappings.plain import plain
from orchestrator.sources.mappings.rows import json_record

BATCH_ROWS: Final = 1_000
_BROKEN: Final = (EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError)
_encode = msgspec.json.Encoder().encode


class _JsonRows:
    """What both have in common."""

    def records(self, data: bytes) -> list[Record]:
        """See ``Rows``."""
        return [json_record(line) for line in data.split(b"\n") if line.strip()]


class AvroRows(_JsonRows):
    """An Avro container file of records.

    Raises:
        UsageError: It is none, or is packed in a way that is not installed here.
    """

    size: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                schema: Any = fastavro.block_reader(file).writer_schema
        except (*_BROKEN, SchemaParseException, UnknownType) as error:
            raise UsageError(f"{path} is no Avro container file: {error}") from error
        if not isinstance(schema, dict) or "fields" not in schema:
            raise UsageError(f"{path} holds no records")
        self.columns: tuple[str, ...] | None = tuple(one["name"] for one in schema["fields"])

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Rows``; blocks in front of ``start`` are not decoded."""
        number = 0
        with self._path.open("rb") as file:
            try:
                for block in fastavro.block_reader(file):
                    if number + block.num_records <= start:
                        number += block.num_records
                        continue
                    for row in block:
                        if number >= start:
                            yield Piece(number, _encode(plain(row)), number + 1)
                        number += 1
            except _BROKEN as error:
                raise _broken(self._path, number, error) from error


class ParquetRows(_JsonRows):
    """A Parquet file.

    Raises:
        UsageError: It is none, or pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrow = _pyarrow(path)
        with self._opened() as file:
            self.columns: tuple[str, ...] | None = tuple(file.schema_arrow.names)
            self.size: int | None = file.metadata.num_rows

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Rows``; row groups in front of ``start`` are not read."""
        number = 0
        with self._opened() as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if number + count <= start:
                    number += count
                    continue
                try:
                    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                        for row in self._plainly(batch):
                            if number >= start:
                                yield Piece(number, _encode(plain(row)), number + 1)
                            number += 1
                except (*_BROKEN, self._arrow.ArrowException, OSError) as error:
                    raise _broken(self._path, number, error) from error

    def _opened(self) -> Any:
        from pyarrow import parquet

        try:
            # What Hive and Impala wrote as 96 bits reaches beyond Python's years otherwise.
            return parquet.ParquetFile(self._path, coerce_int96_timestamp_unit="us")
        except (self._arrow.ArrowException, OSError) as error:
            raise UsageError(f"{self._path} is no Parquet file: {error}") from error

    def _plainly(self, batch: Any) -> Iterator[Record]:
        """Yield rows; instants of whole columns as epoch ms, wall times as texts, whatever their unit."""
        arrow = self._arrow
        columns = []
        for column in batch.columns:
            kind = column.type
            if not arrow.types.is_timestamp(kind):
                columns.append(column)
            elif kind.tz is not None:
                told = column.cast(arrow.timestamp("ms", kind.tz), safe=False)
                columns.append(told.cast(arrow.int64()))
            else:
                told = column.cast(arrow.timestamp("us"), safe=False)
                columns.append(told.cast(arrow.string()))
        plainer = arrow.RecordBatch.from_arrays(columns, names=batch.schema.names)
        yield from plainer.to_pylist(maps_as_pydicts="lossy")


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise UsageError(
            f"{path}: Parquet files need pyarrow: pip install 'orchestrator[parquet]'"
        ) from error
    return pa


def _broken(path: Path, number: int, error: Exception) -> BrokenFile:
    return BrokenFile(f"{path} is broken at row {number}: {error}; what stands before it was taken")
