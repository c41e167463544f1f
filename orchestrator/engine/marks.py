"""Where a process was when it died: the one memory of a worker that its death cannot take.

A record or a timer may end the process itself: memory runs out, a loop never ends, a library crashes. Nobody is
left to write a dead letter then, and the restarted worker reads the same record. So every task
notes in a mapped file which of them it is at; the pages outlive the process. The file is this
machine's own and decides nothing but whether to stop in front of a record and ask.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from orchestrator.engine.ports import TaskId
from orchestrator.engine.store import DiskRefused

DEATHS = 3
"""So many deaths at one record or timer hold its partition."""
SWEEP = bytes(8)
"""Stands for a catalog sweep where an index entry stands for a timer: nothing is due at 0."""
_AT, _WHERE, _COUNT, _AT_TIMER, _WHERE_TIMER = range(5)
"""Cells. The last two hold how long a timer's index entry is; 0 = it is the record."""
_CELL = 8
_CELLS = 5
_ENTRY = 1 << 10
"""Room for an entry: instant and customer id."""
_SIZE = _CELLS * _CELL + 2 * _ENTRY


class Mark:
    """One task's note. Offsets are kept plus one: 0 is nowhere."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                # Written, not only made longer: a hole in a mapped file on a full disk is a SIGBUS.
                file.write(bytes(max(0, _SIZE - file.tell())))
        except OSError as error:
            raise DiskRefused(path, error) from error
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._whole = memoryview(self._map)
        self._cells = self._whole[: _CELLS * _CELL].cast("q")
        if died_at := self._cells[_AT]:
            timer = self._entry(_AT_TIMER)
            # A sweep goes on beside the input: where that has come says nothing of it.
            same = timer == SWEEP or self._cells[_WHERE] == died_at
            again = same and self._entry(_WHERE_TIMER) == timer
            self._cells[_COUNT] = self._cells[_COUNT] + 1 if again else 1
            self._cells[_WHERE], self._cells[_AT] = died_at, 0
            self._note(_WHERE_TIMER, timer)
            self._cells[_AT_TIMER] = 0

    @property
    def held(self) -> int | None:
        """Offset of the record at which this worker died too often; None = there is none."""
        return self._cells[_WHERE] - 1 if self._cells[_COUNT] >= DEATHS else None

    @property
    def held_timer(self) -> bytes | None:
        """Index entry of the timer in front of that record; None = the record itself."""
        return self._entry(_WHERE_TIMER) or None

    def at(self, offset: int) -> None:
        """The record at ``offset`` is about to be applied."""
        self._cells[_AT] = offset + 1

    def firing(self, entry: bytes) -> None:
        """A timer due in front of that record is about to be fired."""
        self._note(_AT_TIMER, entry)

    def fired(self) -> None:
        """No timer is being fired."""
        self._cells[_AT_TIMER] = 0

    def away(self) -> None:
        """Nothing is being applied."""
        self._cells[_AT] = self._cells[_AT_TIMER] = 0

    def swept(self) -> None:
        """A sweep has come to its end: it does not kill, whatever happened beside earlier ones."""
        if self._entry(_WHERE_TIMER) == SWEEP:
            self._cells[_WHERE] = self._cells[_COUNT] = self._cells[_WHERE_TIMER] = 0

    def close(self) -> None:
        """Unmap the file; harmless when repeated."""
        if not self._map.closed:
            self._cells.release()
            self._whole.release()
            self._map.close()

    def _entry(self, cell: int) -> bytes:
        begin = _begin(cell)
        return bytes(self._whole[begin : begin + self._cells[cell]])

    def _note(self, cell: int, entry: bytes) -> None:
        entry, begin = entry[:_ENTRY], _begin(cell)
        self._whole[begin : begin + len(entry)] = entry
        self._cells[cell] = len(entry)


def _begin(cell: int) -> int:
    return _CELLS * _CELL + (cell - _AT_TIMER) * _ENTRY


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
