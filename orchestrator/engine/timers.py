"""The timers of one partition: a heap over the first part of an index that may not fit in memory.

An entry is ``due`` (8 bytes, big-endian) + key, so bytes order is firing order. The heap holds every
entry below the horizon. The horizon is an index *entry*, not an instant: a million timers of one
instant are loaded in portions like any others.

An entry is superseded when its state is due at another instant; whoever pops it finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain

END = b"\xff" * 8
"""Beyond every entry: the index holds nothing more."""
NEVER_DUE = bytes(8)
"""``due`` of a state that has no timer, as its value begins."""


def entry(due: int, key: bytes) -> bytes:
    """Return the index entry of a timer."""
    return due.to_bytes(8, "big") + key


def due_of(index_entry: bytes) -> int:
    """Return the instant of an entry or of a state's value."""
    return int.from_bytes(index_entry[:8], "big")


def key_of(index_entry: bytes) -> bytes:
    """Return the key of an entry."""
    return index_entry[8:]


class Timers:
    """See the module docstring.

    Args:
        scan: Yields the stored entries from one on, in order.
        pending: Gives the entries of states that are not in the index yet.
        portion: Entries that one load may bring.
        ahead_ms: How far beyond the asked instant a load looks.
    """

    def __init__(
        self,
        scan: Callable[[bytes], Iterator[bytes]],
        pending: Callable[[], Iterable[bytes]],
        *,
        portion: int,
        ahead_ms: int,
    ) -> None:
        self._scan = scan
        self._pending = pending
        self._portion = portion
        self._ahead_ms = ahead_ms
        self.earliest = 0
        """No timer is due before this instant; so most records need not ask for one."""
        self._heap: list[bytes] = []
        self._horizon = b""

    def __len__(self) -> int:
        return len(self._heap)

    def arm(self, due: int, key: bytes) -> None:
        """Note a timer; beyond the horizon the index (or ``pending``) will bring it."""
        new = due.to_bytes(8, "big") + key
        if new < self._horizon:
            heappush(self._heap, new)
        self.earliest = min(self.earliest, due)

    def first(self, limit: bytes) -> bytes | None:
        """Return the smallest entry below ``limit`` without taking it."""
        while not self._heap and self._horizon < limit:
            self._load(limit)
        if self._heap and self._heap[0] < limit:
            return self._heap[0]
        self.earliest = due_of(self._heap[0] if self._heap else self._horizon)
        return None

    def take(self) -> bytes:
        """Take the entry that ``first`` returned."""
        return heappop(self._heap)

    def put_back(self, taken: bytes) -> None:
        """The entry that was taken could not be fired yet."""
        heappush(self._heap, taken)
        self.earliest = min(self.earliest, due_of(taken))

    def _load(self, limit: bytes) -> None:
        """Bring entries from the horizon on, at least those below ``limit`` or one portion."""
        low = self._horizon
        high = entry(min(due_of(limit) + self._ahead_ms, (1 << 63) - 1), b"")
        brought: set[bytes] = set()
        for found in self._scan(low):
            if found >= high or len(brought) >= self._portion:
                high = found
                break
            brought.add(found)
        else:
            high = END
        brought.update(x for x in chain(self._pending()) if low <= x < high)
        self._heap.extend(brought)
        heapify(self._heap)
        self._horizon = high
