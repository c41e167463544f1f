"""The states of one partition: a write-back cache over the store.

A state's value is ``due`` (8 bytes, big-endian) + the stage's bytes, or empty: the row goes. It is
encoded after every input that is accepted, not once per checkpoint: so its size is known before the
input counts, and a stage that fails half-way is undone by decoding the value again.

Few are decoded at a time, so they live and die in the processor's cache: what a state's objects cost
is the way to memory, when they are written and when they are taken down. The rest are bytes: a
seventh of the memory, and nothing for the garbage collector to walk through. All states of a process
share one ``Room``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Generic
from weakref import WeakSet
from zlib import crc32

from msgspec import Struct

from orchestrator.engine import meta as metas
from orchestrator.engine.ports import StateWrite, Store
from orchestrator.engine.timers import NEVER_DUE, due_of
from orchestrator.stages.protocol import S, Stage

ERASED = b""
BESIDE: Final = 135
"""Bytes that a kept state takes beside its own: key, place in a dict, head of the object."""
FIRST_GUESS: Final = 512.0
"""Bytes of a state, as long as none has been written."""


class Room:
    """The bytes that the states of a process may take in memory, in equal parts for its tasks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tenants: WeakSet[States[Any]] = WeakSet()

    def enter(self, states: States[Any]) -> None:
        """Give a task its part for as long as it lives."""
        self._tenants.add(states)

    def part(self) -> int:
        """Return the bytes of one task."""
        return self._size // max(1, len(self._tenants))


class Row(Struct, gc=False):
    """What was accepted of one state, and what the last snapshot had of it."""

    value: bytes
    """Empty when there is nothing, or nothing any more."""
    stored_due: int = 0
    """``due`` in the last snapshot: the index entry that the next one replaces."""
    share: int = 0
    """The part of the digest that stems from the last snapshot's value."""


class Entry(Struct, Generic[S], gc=False):
    """One decoded state; nothing in it leads back to it, so the garbage collector need not know it."""

    state: S
    row: Row


class States(Generic[S]):
    """See the module docstring. Reads see dirty, then flushing, then stored states.

    Args:
        decoded: How many stay decoded at most, those that were decoded last.
    """

    def __init__(
        self, stage: Stage[S], store: Store, digest: int, room: Room, decoded: int
    ) -> None:
        self.digest = digest
        """Digest of the whole state as of the last snapshot."""
        self._stage = stage
        self._encode = stage.encode
        self._store = store
        self._room = room
        room.enter(self)
        self._most_decoded = decoded
        self._mean = FIRST_GUESS
        """Bytes of a state, of those written lately."""
        self._decoded: dict[str, Entry[S]] = {}
        self._dirty: dict[str, Row] = {}
        """Accepted since the last snapshot."""
        self._flushing: dict[str, Row] = {}
        """Of the last snapshot, until it is committed."""
        self._kept: dict[str, bytes] = {}
        """As the store has them; who came in first goes first."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def dirty(self) -> bool:
        """Whether a snapshot would carry states."""
        return bool(self._dirty)

    def get(self, key: str, ordinal: int) -> Entry[S]:
        """Return the entry of ``key``; a new state stands in the light of catalog ``ordinal``."""
        entry = self._decoded.get(key)
        if entry is None:
            row = self._dirty.get(key) or self._flushing.get(key) or self._stored(key)
            entry = Entry(self._state(key, row, ordinal), row)
            if self._most_decoded:
                self._remember(key, entry)
        elif not entry.row.value:  # it begins anew, as it would after a restart
            entry.state = self._new(key, ordinal)
        return entry

    def peek(self, key: str) -> S | None:
        """Return the state of a key that was seen, for reading only; leaves the cache alone."""
        row = self._dirty.get(key) or self._flushing.get(key)
        value = row.value if row else self._kept.get(key) or self._store.get(key.encode())
        return self._stage.decode(value[8:]) if value else None

    def value_of(self, state: S) -> bytes:
        """Return the bytes of a state as they will be stored."""
        data = self._encode(state)
        return state.due.to_bytes(8, "big") + data if data else ERASED

    def accept(self, key: str, entry: Entry[S], value: bytes) -> None:
        """Take the state as it is now, with ``value`` its bytes."""
        row = entry.row
        row.value = value
        self._dirty[key] = row

    def restore(self, key: str, entry: Entry[S], ordinal: int) -> None:
        """Put the state back to what was last accepted."""
        entry.state = self._state(key, entry.row, ordinal)

    def pending_timers(self) -> Iterator[bytes]:
        """Yield the index entries of states that are not in the store yet."""
        for rows in (self._flushing, self._dirty):
            for key, row in rows.items():
                if row.value and (due := row.value[:8]) != NEVER_DUE:
                    yield due + key.encode()

    def due_now(self, key: str) -> int:
        """Return when ``key`` is due if it is not in the store yet; else, or never: 0."""
        row = self._dirty.get(key) or self._flushing.get(key)
        return due_of(row.value) if row is not None and row.value else 0

    def snapshot(self) -> tuple[list[StateWrite], int]:
        """Take the dirty states; return them with their checksum. ``digest`` moves along."""
        writes: list[StateWrite] = []
        shares: list[int] = []
        change = size = 0
        for key, row in self._dirty.items():
            raw, value, share, due = key.encode(), row.value or None, 0, 0
            if value is not None:
                share, due = crc32(value, crc32(raw)) + 1, due_of(value)  # meta.state_hash
                size += len(value)
            shares.append(share)
            change += share - row.share
            writes.append(StateWrite(raw, value, row.stored_due))
            row.share, row.stored_due = share, due
        if writes:
            self._mean += (size / len(writes) - self._mean) / 8
        self.digest = metas.add_to_digest(self.digest, change)
        self._flushing, self._dirty = self._dirty, {}
        return writes, metas.checksum(shares)

    def committed(self) -> None:
        """The snapshot is in the store: its states may go when there is no room for more.

        It looks at what goes, never at all that is there: the cache may be large, and this comes often.
        """
        dirty, kept = self._dirty, self._kept
        for key, row in self._flushing.items():
            if key in dirty or not row.value:
                kept.pop(key, None)
            else:
                kept[key] = row.value
        self._flushing = {}
        most = int(self._room.part() / (self._mean + BESIDE))
        if len(kept) > most:
            for key in list(islice(kept, len(kept) - most + most // 10)):
                del kept[key]

    # -- inside ---------------------------------------------------------------------------------

    def _stored(self, key: str) -> Row:
        raw = key.encode()
        value = self._kept.get(key) or self._store.get(raw)
        if value is None:
            return Row(ERASED)
        return Row(value, due_of(value), crc32(value, crc32(raw)) + 1)  # meta.state_hash

    def _state(self, key: str, row: Row, ordinal: int) -> S:
        return self._stage.decode(row.value[8:]) if row.value else self._new(key, ordinal)

    def _remember(self, key: str, entry: Entry[S]) -> None:
        """Keep an entry; many go at once, for to find the oldest key of a dict is dear."""
        decoded = self._decoded
        if len(decoded) >= self._most_decoded:
            for old in list(islice(decoded, self._most_decoded // 2 + 1)):
                del decoded[old]
        decoded[key] = entry

    def _new(self, key: str, ordinal: int) -> S:
        state = self._stage.new(key)
        state.catalog = ordinal
        return state
