"""Lines of several files in the order of their time: an external merge sort.

Ties keep the order of the files and of the lines, so that the same files always give the same
sequence and a load can continue at the n-th line. A line without a readable time comes first: it
becomes a dead letter and waits for nothing.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO, NamedTuple

import msgspec

RUN_LINES = 200_000
"""Lines that are sorted in memory at a time: about 100 MB."""
_HEAD = 4
_encode = msgspec.msgpack.Encoder().encode


class TimedLine(NamedTuple):
    """One line: its time (epoch ms), its file's number, where it begins, which part of it this is."""

    at: int
    file: int
    offset: int
    part: int
    data: bytes


_decode = msgspec.msgpack.Decoder(TimedLine).decode


def in_order(lines: Iterable[TimedLine], run_lines: int = RUN_LINES) -> Iterator[TimedLine]:
    """Yield all lines by (time, file, offset, part), using temporary files beyond ``run_lines``."""
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        kept: list[TimedLine] = []
        for line in lines:
            kept.append(line)
            if len(kept) >= run_lines:
                file = stack.enter_context(tempfile.TemporaryFile())
                _spill(file, kept)
                runs.append(file)
                kept = []
        kept.sort()
        yield from heapq.merge(*map(_read, runs), kept)


def _spill(file: IO[bytes], lines: list[TimedLine]) -> None:
    lines.sort()
    for line in lines:
        data = _encode(line)
        file.write(len(data).to_bytes(_HEAD, "big") + data)
    file.seek(0)


def _read(file: IO[bytes]) -> Iterator[TimedLine]:
    while head := file.read(_HEAD):
        yield _decode(file.read(int.from_bytes(head, "big")))
