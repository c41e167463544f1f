"""``group_by``: the lines of one event, wherever they stand in a file.

Two external sorts: by the group, and the groups by their first line, so that events keep the order
of the file. A group's bytes are its lines, one behind the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import groupby
from typing import Final

import msgspec

from orchestrator.errors import InputError, UsageError
from orchestrator.sources.inputs import Piece
from orchestrator.sources.sorting import TimedLine, in_order

MAX_LINES: Final = 10_000
"""More lines than this are no event: somebody grouped by a constant."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


def grouped(pieces: Iterable[Piece], key: Callable[[Piece], str]) -> Iterator[Piece]:
    """Yield the groups by their first lines; ``end`` counts them.

    Args:
        pieces: The lines.
        key: What the lines of a group share; raises InputError for a line that stands alone.

    Raises:
        UsageError: A group has more than ``MAX_LINES``.
    """
    by_group = in_order(_keyed(pieces, key))
    whole = in_order(
        TimedLine(0, 0, piece.offset, 0, piece.data)
        for _, run in groupby(by_group, lambda line: line.at)
        for piece in _groups(run)
    )
    for number, line in enumerate(whole, 1):
        yield Piece(line.offset, line.data, number)


def _keyed(pieces: Iterable[Piece], key: Callable[[Piece], str]) -> Iterator[TimedLine]:
    for piece in pieces:
        try:
            group = key(piece)
        except InputError:
            group = f"alone at {piece.offset}"  # no key is like this: keys are JSON arrays
        place = int.from_bytes(sha256(group.encode()).digest()[:7], "big")
        yield TimedLine(place, 0, piece.offset, 0, _encode((group, _ended(piece.data))))


def _ended(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\n"


def _groups(run: Iterable[TimedLine]) -> Iterator[Piece]:
    """Yield the groups of one hash; nearly always it is one."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for line in run:
        group, data = _decode(line.data)
        lines = found.setdefault(group, [])
        lines.append((line.offset, data))
        if len(lines) > MAX_LINES:
            raise UsageError(
                f"group_by puts more than {MAX_LINES} lines into one event ({group}); "
                "group by what tells events apart"
            )
    for lines in found.values():
        yield Piece(lines[0][0], b"".join(data for _, data in lines), 0)
