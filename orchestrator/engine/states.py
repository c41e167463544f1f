"""The states of one partition: a write-back cache over the store.

A state's value is ``due`` (8 bytes, big-endian) + the stage's bytes, or empty: the row goes. It is
encoded after every input that is accepted, not once per checkpoint: so its size is known before the
input counts, and a stage that fails half-way is undone by decoding the value again.

Those that were touched last are kept decoded, more of them as bytes: a seventh of the memory, and
nothing for the garbage collector to walk through. All states of a process share one ``Room``.
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
from orchestrator.engine.timers import due_of
from orchestrator.stages.protocol import S, Stage

ERASED = b""
DECODED_TIMES: Final = 7
"""A decoded state takes so many times the memory of its bytes."""
BESIDE: Final = 135
"""Bytes that a kept state takes beside its own: key, place in a dict, head of the object."""
KEPT_SHARE: Final = 0.75
"""Of the room for states that are kept as bytes. Not to have one as bytes costs more than not to have
it decoded, but five of them fit where one decoded state fits."""
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


class Entry(Struct, Generic[S], gc=False):
    """One decoded state; nothing in it leads back to it, so the garbage collector need not know it."""

    state: S
    stored_due: int
    """``due`` in the last snapshot: the index entry that the next one replaces."""
    share: int
    """The part of the digest that stems from the last snapshot's value."""
    value: bytes | None = None
    """None if it was only read so far, empty when it is erased."""


class States(Generic[S]):
    """See the module docstring. Reads see dirty, then flushing, then stored states."""

    def __init__(self, stage: Stage[S], store: Store, digest: int, room: Room) -> None:
        self.digest = digest
        """Digest of the whole state as of the last snapshot."""
        self._stage = stage
        self._encode = stage.encode
        self._store = store
        self._room = room
        room.enter(self)
        self._mean = FIRST_GUESS
        """Bytes of a state, of those written lately."""
        self._cache: dict[str, Entry[S]] = {}
        """Decoded: touched since the last checkpoint, or not long ago."""
        self._kept: dict[str, bytes] = {}
        """As the store has them; whose bytes came in first goes first."""
        self._dirty: dict[str, Entry[S]] = {}
        self._flushing: dict[str, Entry[S]] = {}
        self._erased: list[str] = []
        """Of those that are being flushed."""

    def __len__(self) -> int:
        return len(self._cache) + len(self._kept)

    @property
    def dirty(self) -> bool:
        """Whether a snapshot would carry states."""
        return bool(self._dirty)

    def get(self, key: str, ordinal: int) -> Entry[S]:
        """Return the entry of ``key``; a new state stands in the light of catalog ``ordinal``."""
        entry = self._cache.get(key)
        if entry is None:
            raw = key.encode()
            value = self._kept.pop(key, None) or self._store.get(raw)
            if value is None:
                entry = Entry(self._new(key, ordinal), 0, 0)
            else:
                state = self._stage.decode(value[8:])
                entry = Entry(state, due_of(value), crc32(value, crc32(raw)) + 1)  # meta.state_hash
            self._cache[key] = entry
        elif entry.value == ERASED:  # it begins anew, as it would after a restart
            entry.state = self._new(key, ordinal)
        return entry

    def cached(self, key: str) -> Entry[S] | None:
        """Return the entry of ``key`` if it is decoded already, and there is one."""
        entry = self._cache.get(key)
        return None if entry is None or entry.value == ERASED else entry

    def peek(self, key: str) -> S | None:
        """Return the state of a key that was seen, for reading only; leaves the cache alone."""
        entry = self._cache.get(key)
        if entry is not None:
            if entry.value == ERASED:
                return None
            return entry.state if entry.value is not None or entry.share else None
        value = self._kept.get(key) or self._store.get(key.encode())
        return None if value is None else self._stage.decode(value[8:])

    def value_of(self, state: S) -> bytes:
        """Return the bytes of a state as they will be stored."""
        data = self._encode(state)
        return state.due.to_bytes(8, "big") + data if data else ERASED

    def accept(self, key: str, entry: Entry[S], value: bytes) -> None:
        """Take the state as it is now, with ``value`` its bytes."""
        entry.value = value
        self._dirty[key] = entry

    def restore(self, key: str, entry: Entry[S], ordinal: int) -> None:
        """Put the state back to what was last accepted."""
        value = entry.value if entry.value is not None else self._store.get(key.encode())
        if value is None:  # it was never accepted: as if it had not been asked for
            self._cache.pop(key, None)
            entry.state = self._new(key, ordinal)
        elif value == ERASED:
            entry.state = self._new(key, ordinal)
        else:
            entry.state = self._stage.decode(value[8:])

    def pending_timers(self) -> Iterator[bytes]:
        """Yield the index entries of states that are not in the store yet."""
        for states in (self._flushing, self._dirty):
            for key, entry in states.items():
                if entry.state.due:
                    yield entry.state.due.to_bytes(8, "big") + key.encode()

    def due_now(self, key: str) -> int:
        """Return when the cached state of ``key`` is due; 0 when it is not cached."""
        entry = self._cache.get(key)
        return 0 if entry is None else entry.state.due

    def snapshot(self) -> tuple[list[StateWrite], int]:
        """Take the dirty states; return them with their checksum. ``digest`` moves along."""
        writes: list[StateWrite] = []
        shares: list[int] = []
        change = size = 0
        for key, entry in self._dirty.items():
            raw, value, share, due = key.encode(), entry.value or None, 0, 0
            if value is None:
                self._erased.append(key)
            else:
                share, due = crc32(value, crc32(raw)) + 1, entry.state.due  # meta.state_hash
                size += len(value)
            shares.append(share)
            change += share - entry.share
            writes.append(StateWrite(raw, value, entry.stored_due))
            entry.share, entry.stored_due = share, due
        if writes:
            self._mean += (size / len(writes) - self._mean) / 8
        self.digest = metas.add_to_digest(self.digest, change)
        self._flushing, self._dirty = self._dirty, {}
        return writes, metas.checksum(shares)

    def committed(self) -> None:
        """The snapshot is in the store: its states may be evicted, first to bytes, then altogether.

        It looks at what goes, never at all that is there: the cache may be large, and this comes often.
        """
        cache, dirty, kept = self._cache, self._dirty, self._kept
        for key in self._erased:
            if key not in dirty:
                del cache[key]
        self._erased, self._flushing = [], {}
        part, mean = self._room.part(), self._mean
        most = int(part * (1 - KEPT_SHARE) / (DECODED_TIMES * mean + BESIDE))
        if len(cache) > most:
            surplus = len(cache) - most + most // 10
            for key in list(islice((key for key in cache if key not in dirty), surplus)):
                if value := cache.pop(key).value:
                    kept[key] = value
        most = int(part * KEPT_SHARE / (mean + BESIDE))
        if len(kept) > most:
            for key in list(islice(kept, len(kept) - most + most // 10)):
                del kept[key]

    def _new(self, key: str, ordinal: int) -> S:
        state = self._stage.new(key)
        state.catalog = ordinal
        return state
