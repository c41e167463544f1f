"""What a mapping makes of samples: what ``sources test`` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from time import time
from typing import Final

from msgspec import Struct

from orchestrator.errors import InputError
from orchestrator.records import Event
from orchestrator.sources.connect.opening import Incoming, Opener
from orchestrator.sources.connect.schemas import Datum
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.inputs import Input, Piece, unpacked_size
from orchestrator.sources.mappings.files import MappedFile, open_files
from orchestrator.sources.mappings.lookups import read_lookups
from orchestrator.sources.mappings.mapper import Arrival, Mapper
from orchestrator.sources.mappings.rows import JsonRows, NdjsonRows, Rows

_SECONDS: Final = 100_000_000_000
"""Epoch ms before 1973 are nearly always epoch seconds."""


class TriedRecord(Struct):
    """One record and what came of it: events, or a refusal, or nothing."""

    file: str
    offset: int
    events: list[Event] = []
    remarks: list[str] = []
    """One for each event; empty = none."""
    cause: str = ""
    message: str = ""


class Trial(Struct):
    """What came of all of them."""

    source: str
    records: list[TriedRecord] = []
    events: int = 0
    nothing: int = 0
    refused: int = 0


class _Sample:
    """Bodies of a webhook in a file: JSON, or one JSON object a line."""

    def __init__(self, path: Path, mapper: Mapper, header: Mapping[str, str]) -> None:
        self.path = path
        self.source = mapper.source
        self._mapper = mapper
        self._header = header
        self._rows: Rows = JsonRows(path) if ".json" in path.suffixes else NdjsonRows(path)

    def size(self) -> int | None:
        return unpacked_size(self.path)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        return self._rows.pieces(start)

    def events(self, piece: Piece) -> list[Event]:
        arrival = Arrival(int(time() * 1000), ("sample", str(piece.offset)), self._header)
        return self._mapper.events(self._rows.records(piece.data), arrival)


class _NoRegistry:
    """Samples of Avro are written as JSON."""

    def decode(self, value: bytes, wanted: frozenset[str] | None = None) -> Datum:
        del wanted
        raise InputError(f"a sample is JSON, not {value[:8]!r}", "bad_record")


class _TopicSample(_Sample):
    """Values of a topic's records, as JSON; all have the same key and headers."""

    def __init__(
        self, path: Path, mapper: Mapper, header: Mapping[str, str], key: str | None
    ) -> None:
        super().__init__(path, mapper, header)
        self._key = None if key is None else key.encode()
        self._headers = [(name, value.encode()) for name, value in header.items()]
        format_ = "json" if mapper.format == "avro" else mapper.format
        self._opener = Opener(format_, _NoRegistry(), mapper.fields(), reads_key=True)

    def events(self, piece: Piece) -> list[Event]:
        at, value = int(time() * 1000), piece.data.strip()
        topic = self._mapper.topics[0]
        one = Incoming(topic, 0, piece.offset, at, self._key, value, self._headers)
        opened = self._opener.open(one)
        return self._mapper.events([opened.record], opened.arrival) if opened else []


def try_mapping(
    mapper: Mapper,
    sample: Path | None,
    folder: Path,
    header: Mapping[str, str],
    kinds: IdentityKinds | None,
    limit: int = 0,
    key: str | None = None,
) -> Trial:
    """Run samples through a mapping.

    Args:
        mapper: The mapping.
        sample: The records; None = the files that the mapping names, if it names any.
        folder: Where its patterns and lookups begin.
        header: What comes with every body of a webhook, or record of a topic; names in lower case.
        kinds: The declared identities; None = not checked.
        limit: At most so many records of each file; 0 = all.
        key: Of a topic's records.

    Raises:
        UsageError: A file is missing or is not as the mapping needs it.
    """
    trial = Trial(mapper.source)
    for input_ in _inputs(mapper, sample, folder, header, key):
        pieces = input_.pieces()
        for piece in islice(pieces, limit) if limit else pieces:
            record = _tried(input_, piece, kinds)
            trial.records.append(record)
            trial.events += len(record.events)
            trial.refused += bool(record.cause)
            trial.nothing += not record.cause and not record.events
    return trial


def _inputs(
    mapper: Mapper, sample: Path | None, folder: Path, header: Mapping[str, str], key: str | None
) -> list[Input]:
    if mapper.files and sample is None:
        return [*open_files([mapper], folder)]
    if sample is None:
        return []
    if mapper.topics:
        return [_TopicSample(sample, mapper, header, key)]
    if not mapper.files:
        return [_Sample(sample, mapper, header)]
    mapper.use(read_lookups(mapper, folder))
    return [MappedFile(sample, mapper)]


def _tried(input_: Input, piece: Piece, kinds: IdentityKinds | None) -> TriedRecord:
    try:
        events = input_.events(piece)
        if kinds is not None:
            for event in events:
                kinds.key(event.identities)
    except InputError as error:
        return TriedRecord(input_.path.name, piece.offset, cause=error.cause, message=str(error))
    return TriedRecord(input_.path.name, piece.offset, events, [_remark(each) for each in events])


def _remark(event: Event) -> str:
    if event.occurred_at < _SECONDS:
        return "occurred_at is in the first years after 1970: epoch seconds? multiply by 1000"
    return ""
