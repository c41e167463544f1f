"""The files that mappings name, as inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.records import Event
from orchestrator.sources.inputs import Piece
from orchestrator.sources.mappings.groups import grouped
from orchestrator.sources.mappings.lookups import check_columns, read_lookups
from orchestrator.sources.mappings.mapper import Arrival, Mapper
from orchestrator.sources.mappings.rows import CsvRows, JsonRows, NdjsonRows, Rows
from orchestrator.sources.mappings.typed_rows import AvroRows, ParquetRows
from orchestrator.sources.ndjson import file_identity


class MappedFile:
    """One file through a mapping whose lookups are there.

    Raises:
        UsageError: The file lacks a column that the mapping reads.
    """

    def __init__(self, path: Path, mapper: Mapper) -> None:
        self.path = path
        self.source = mapper.source
        self._mapper = mapper
        self._rows = rows_of(path, mapper)
        check_columns(path, self._rows.columns, mapper.fields())
        self._identity = file_identity(path)

    def size(self) -> int | None:
        """See ``Input``."""
        return None if self._mapper.grouped else self._rows.size

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Input``."""
        if not self._mapper.grouped:
            yield from self._rows.pieces(start)
            return
        for piece in grouped(self._rows.pieces(), self._group):
            if piece.end > start:
                yield piece

    def events(self, piece: Piece) -> list[Event]:
        """See ``Input``."""
        records = self._rows.records(piece.data)
        if self._mapper.grouped:
            self._mapper.group(records[0])
        arrival = Arrival(None, (self._identity, str(piece.offset)))
        return self._mapper.events(records, arrival)

    def _group(self, piece: Piece) -> str:
        return self._mapper.group(self._rows.records(piece.data)[0])


def rows_of(path: Path, mapper: Mapper) -> Rows:
    """Return the reader of a file in the mapping's format."""
    match mapper.format:
        case "csv":
            return CsvRows(path, mapper.delimiter)
        case "ndjson":
            return NdjsonRows(path)
        case "parquet":
            return ParquetRows(path)
        case "avro":
            return AvroRows(path)
        case _:
            return JsonRows(path)


def open_files(
    mappers: Sequence[Mapper], folder: Path, instead: Sequence[Path] = ()
) -> list[MappedFile]:
    """Return the files of all mappings, in their order, each mapping's by name.

    Args:
        mappers: Mappings of files.
        folder: Where relative patterns, also those of lookups, begin.
        instead: These files, not those that the mappings name.

    Raises:
        UsageError: A pattern finds nothing, or a file is not as its mapping needs it.
    """
    found: list[MappedFile] = []
    for mapper in mappers:
        mapper.use(read_lookups(mapper, folder))
        found += [MappedFile(path, mapper) for path in instead or _files(mapper, folder)]
    return found


def _files(mapper: Mapper, folder: Path) -> list[Path]:
    names: dict[Path, None] = {}
    for pattern in mapper.files:
        matches = sorted(glob(str(folder / pattern), recursive=True))  # noqa: PTH207 - absolute patterns too
        files = [path for path in map(Path, matches) if path.is_file()]
        if not files:
            raise UsageError(
                f"source {mapper.source}: {pattern!r} finds no file in {folder.absolute()}"
            )
        names |= dict.fromkeys(files)
    return [*names]
