"""Files as ``load`` and ``simulate`` take them: canonical events, or records through a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from orchestrator.errors import CouldNotRun, InputError
from orchestrator.records import Event
from orchestrator.sources.ndjson import file_identity, parse_line, read_lines
from orchestrator.sources.sorting import TimedLine, in_order

REFUSED = -1
"""``TimedLine.part`` of a piece that cannot be mapped: its data are the original bytes."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


class BrokenFile(CouldNotRun):
    """A file cannot be read on; the text says where. What stands before the place was given out."""


class Piece(NamedTuple):
    """The bytes of one record, where they begin, and where a load continues behind them."""

    offset: int
    data: bytes
    end: int


class Input(Protocol):
    """One file on its way to events."""

    path: Path
    source: str

    def size(self) -> int | None:
        """Return what the last ``end`` will be, if anybody knows."""
        ...

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Yield what is in the file, from ``start`` on; always the same in the same order."""
        ...

    def events(self, piece: Piece) -> list[Event]:
        """Return the events of a piece.

        Raises:
            InputError: It cannot be mapped.
        """
        ...


class CanonicalFile:
    """Events as they are, one JSON object a line; see ``ndjson``."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source
        self._identity = file_identity(path)

    def size(self) -> int | None:
        """See ``Input``."""
        return unpacked_size(self.path)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See ``Input``."""
        for line in read_lines(self.path, start):
            yield Piece(line.offset, line.data, line.offset + len(line.data))

    def events(self, piece: Piece) -> list[Event]:
        """See ``Input``."""
        return [parse_line(piece.data, self.source, self._identity, piece.offset)]


def unpacked_size(path: Path) -> int | None:
    """Return the size of a file, or None for a packed one."""
    return None if path.suffix == ".gz" else path.stat().st_size


class Arranged(NamedTuple):
    """One event in the order of time, or, with ``error``, a piece that is none."""

    input: Input
    offset: int
    event: Event | None
    data: bytes
    error: InputError | None = None


def by_time(
    inputs: Sequence[Input],
    check: Callable[[Event], object] = lambda _: None,
    counted: Callable[[int], None] = lambda _: None,
) -> Iterator[Arranged]:
    """Yield the events of all inputs by (time, input, place), using temporary files for many.

    Args:
        inputs: Ties keep their order.
        check: Raises InputError for an event that cannot be taken; its piece is refused whole.
        counted: Told how many there are, before the first.
    """
    count = 0

    def lines() -> Iterator[TimedLine]:
        nonlocal count
        for count, line in enumerate(_timed(inputs, check), 1):  # noqa: B007 - told at the end
            yield line

    arranged = in_order(lines())
    first = next(arranged, None)
    counted(count)
    if first is None:
        return
    for line in _chain(first, arranged):
        input_ = inputs[line.file]
        if line.part != REFUSED:
            yield Arranged(input_, line.offset, _decode(line.data), b"")
            continue
        try:
            for event in input_.events(Piece(line.offset, line.data, 0)):
                check(event)
        except InputError as error:
            yield Arranged(input_, line.offset, None, line.data, error)


def _chain(first: TimedLine, rest: Iterable[TimedLine]) -> Iterator[TimedLine]:
    yield first
    yield from rest


def _timed(inputs: Sequence[Input], check: Callable[[Event], object]) -> Iterator[TimedLine]:
    for number, input_ in enumerate(inputs):
        for piece in input_.pieces():
            try:
                events = input_.events(piece)
                for event in events:
                    check(event)
            except InputError:
                yield TimedLine(0, number, piece.offset, REFUSED, piece.data)
                continue
            for part, event in enumerate(events):
                yield TimedLine(event.occurred_at, number, piece.offset, part, _encode(event))
