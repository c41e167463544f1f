"""Where a process was when it died: the one memory of a worker that its death cannot take.

A record may end the process itself: memory runs out, a loop never ends, a library crashes. Nobody is
left to write a dead letter then, and the restarted worker reads the same record. So every task
notes in a mapped file which record it is at; the pages outlive the process. The file is this
machine's own and decides nothing but whether to stop in front of a record and ask.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from orchestrator.engine.ports import TaskId

DEATHS = 3
"""So many deaths at one record hold its partition."""
_AT, _WHERE, _COUNT = range(3)
_CELL = 8


class Mark:
    """One task's note. Offsets are kept plus one: 0 is nowhere."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(3 * _CELL)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 3 * _CELL)
        self._cells = memoryview(self._map).cast("q")
        if died_at := self._cells[_AT]:
            again = self._cells[_WHERE] == died_at
            self._cells[_COUNT] = self._cells[_COUNT] + 1 if again else 1
            self._cells[_WHERE], self._cells[_AT] = died_at, 0

    @property
    def held(self) -> int | None:
        """Offset of the record at which this worker died too often; None = there is none."""
        return self._cells[_WHERE] - 1 if self._cells[_COUNT] >= DEATHS else None

    def at(self, offset: int) -> None:
        """The record at ``offset``, or a timer due in front of it, is about to be applied."""
        self._cells[_AT] = offset + 1

    def away(self) -> None:
        """Nothing is being applied."""
        self._cells[_AT] = 0

    def close(self) -> None:
        """Unmap the file; harmless when repeated."""
        if not self._map.closed:
            self._cells.release()
            self._map.close()


class Marks:
    """Opens the notes of a process under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, task: TaskId) -> Path:
        """Return a task's file; who removes it lets the worker try again."""
        return self._directory / str(task)

    def open(self, task: TaskId) -> Mark:
        """Open or create a task's note, and count the death that it tells of."""
        return Mark(self.path(task))
