"""How far a load has come: one small JSON file for each, in ``worker.data_dir``/load.

A load is known by where it goes (cluster, topic) and its files, each with its source; a file by its
size and the bytes at both ends, so that a renamed copy is the same file and a file that grew is another one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from orchestrator.ids import make_id
from orchestrator.sources.inputs import Input

ENDS = 65_536


class Mark(Struct):
    """``position`` is a piece's ``end`` (``inputs``), or, on the log clock, counts events in order."""

    files: list[str]
    position: int = 0
    accepted: int = 0
    refused: int = 0
    last_offset: int = -1
    """Offset of the last event on the events topic."""
    last_time: int = 0
    """Epoch ms of the last event."""
    finished: bool = False


def fingerprint(path: Path) -> str:
    """Return what tells a file from every other."""
    size = path.stat().st_size
    digest = sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(ENDS))
        file.seek(max(0, size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()


class LoadState:
    """The marks of one target."""

    def __init__(self, folder: Path, *target: str) -> None:
        self._folder = folder
        self._target = target

    def read(self, inputs: Sequence[Input]) -> Mark:
        """Return how far these files have come together."""
        path = self._path(inputs)
        if not path.is_file():
            return Mark(files=[one.path.name for one in inputs])
        return msgspec.json.decode(path.read_bytes(), type=Mark)

    def write(self, inputs: Sequence[Input], mark: Mark) -> None:
        """Keep a mark; the file is replaced as a whole."""
        path = self._path(inputs)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(mark))
        os.replace(fresh, path)  # noqa: PTH105 - replaces in one step on every system

    def _path(self, inputs: Sequence[Input]) -> Path:
        known = [part for one in inputs for part in (one.source, fingerprint(one.path))]
        name = make_id("load", *self._target, *known)
        return self._folder / f"{name}.json"
