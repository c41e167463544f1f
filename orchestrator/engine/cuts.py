"""A cut: one partition's states at one checkpoint, in a file, from which a rebuild may begin.

The file is gzipped MessagePack: the head, then each key and state. It is written whole or not at all.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from orchestrator.engine import meta as metas
from orchestrator.engine.contents import Contents
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import TaskId
from orchestrator.errors import CouldNotRun

FORMAT = "orchestrator-cut-1"
_LEVEL = 1
_LENGTH = 4


class CutHead(Struct, array_like=True):
    """What a cut is of. Fields are only ever appended, with a default."""

    format: str
    stage: str
    partition: int
    source: str
    meta: bytes
    states: int


class Cut:
    """A cut read from its file."""

    def __init__(self, head: CutHead, states: dict[bytes, bytes]) -> None:
        self.source = head.source
        self.meta: Meta = metas.decode(head.meta)
        self.states = states


def cut_path(folder: Path, task: TaskId) -> Path:
    """Return where a task's cut lies."""
    return folder / f"{task}.cut"


def write_cut(folder: Path, task: TaskId, source: str, contents: Contents) -> Path:
    """Write a cut and return its path."""
    path = cut_path(folder, task)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    meta = metas.encode(contents.meta)
    head = CutHead(FORMAT, task.stage, task.partition, source, meta, len(contents.states))
    with gzip.open(unfinished, "wb", compresslevel=_LEVEL) as file:
        for item in (msgspec.msgpack.encode(head), *_flat(contents.states)):
            file.write(len(item).to_bytes(_LENGTH, "big") + item)
    unfinished.replace(path)
    return path


def read_cut(folder: Path, task: TaskId) -> Cut:
    """Read a cut and check that it is whole.

    Raises:
        CouldNotRun: It is missing, damaged, or of something else.
    """
    path = cut_path(folder, task)
    try:
        with gzip.open(path, "rb") as file:
            items = list(_items(file.read()))
        head = msgspec.msgpack.decode(items[0], type=CutHead)
        cut = Cut(head, dict(zip(items[1::2], items[2::2], strict=True)))
    except FileNotFoundError as missing:
        raise CouldNotRun(f"{path} is missing") from missing
    except (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        zlib.error,
        msgspec.MsgspecError,
    ) as damaged:
        raise CouldNotRun(f"{path} is damaged: {damaged}") from damaged
    if (head.format, head.stage, head.partition) != (FORMAT, *task):
        raise CouldNotRun(f"{path} is no cut of {task}")
    shares = sum(metas.state_hash(key, value) for key, value in cut.states.items())
    if metas.add_to_digest(0, shares) != cut.meta.digest or len(cut.states) != head.states:
        raise CouldNotRun(f"{path} is damaged: its states do not fit its head")
    return cut


def _flat(states: dict[bytes, bytes]) -> Iterator[bytes]:
    for pair in states.items():
        yield from pair


def _items(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
        if end > len(data):
            raise ValueError("it ends too early")
        yield data[at + _LENGTH : end]
        at = end
