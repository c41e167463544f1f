"""The meta record: last of every transaction, and the judge of the changelog.

It carries where the input continues, what time it is, which catalogs are in force, and an integrity
record: a sequence number, count and checksum of the transaction's states, and a digest of the
*whole* state. Compaction removes superseded records, so on a compacted changelog only three things
can be demanded: the sequence rises, the log ends with a meta record, and the digest fits. Count and
checksum then say where a changelog went wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import msgspec
from msgspec import Struct

from orchestrator.errors import ChangelogTorn, UnavailableError
from orchestrator.records import CatalogSwitch

META_KEY = b"\x00meta"
"""No state has it: keys that begin with a NUL are refused."""
VERSION = 1
_MASK32 = (1 << 32) - 1
_MASK64 = (1 << 64) - 1


class CatalogMark(Struct, array_like=True):
    """A catalog took effect at this log time."""

    at: int
    switch: CatalogSwitch


class Meta(Struct, array_like=True):
    """See the module docstring. Fields are only ever appended, with a default."""

    seq: int = 0
    position: int = 0
    """Next source offset."""
    log_time: int = 0
    """Epoch ms; never goes back."""
    count: int = 0
    checksum: int = 0
    digest: int = 0
    first_ordinal: int = 0
    """Ordinal of ``catalogs[0]``; 0 = no catalog yet. States may still stand in its light."""
    catalogs: list[CatalogMark] = []
    sweep: bytes | None = None
    """States with smaller keys have seen the newest catalog; None = all have."""
    changelog_offset: int = 0
    """Local only: the changelog offset after this record."""
    verified: bool = False
    """Local only: the store has been compared with the digest since its last replay began."""
    repair: bool = False
    """Written by `orchestrator state reset`: what is wrong with the changelog so far is settled."""
    erasures: int = 0
    """So many transactions erased somebody on request."""
    purged: int = 0
    """Local only: the ``erasures`` up to which the files of this copy have been rewritten."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Meta).decode
_HEAD = bytes([VERSION])


def encode(meta: Meta) -> bytes:
    """Return version byte + MessagePack."""
    return _HEAD + _encode(meta)


def decode(data: bytes) -> Meta:
    """Return the meta record; inverse of ``encode``.

    Raises:
        UnavailableError: Written by a newer version: the partition waits for the upgrade.
    """
    if data[0] > VERSION:
        raise UnavailableError(f"meta version {data[0]} is newer than {VERSION}: upgrade worker")
    return _decode(memoryview(data)[1:])


def state_hash(key: bytes, value: bytes | None) -> int:
    """Return one state's share of the digest; 0 for a state that is not there."""
    return crc32(value, crc32(key)) + 1 if value is not None else 0


def add_to_checksum(checksum: int, share: int) -> int:
    """Return the running checksum of a transaction's states, in order."""
    return checksum * 31 + share & _MASK32


def checksum(shares: Iterable[int]) -> int:
    """Return the checksum of a whole transaction's states, in order."""
    found = 0
    for share in shares:
        found = found * 31 + share & _MASK32
    return found


def add_to_digest(digest: int, change: int) -> int:
    """Return the digest after one state's share changed by ``change``."""
    return digest + change & _MASK64


class TransactionReader:
    """Assembles whole transactions from changelog records and remembers what looked wrong."""

    def __init__(self, last: Meta) -> None:
        self.last = last
        self.suspicion = ""
        """The first transaction whose count or checksum does not fit; normal after compaction."""
        self._torn = ""
        self._states: dict[bytes, bytes | None] = {}
        self._count = 0
        self._checksum = 0

    def feed(
        self, offset: int, key: bytes, value: bytes | None
    ) -> tuple[dict[bytes, bytes | None], Meta] | None:
        """Take the next record; return (states, meta) when it completes a transaction.

        What is wrong is told by ``end``: a repair may follow.
        """
        if key != META_KEY:
            self._states[key] = value
            self._count += 1
            self._checksum = add_to_checksum(self._checksum, state_hash(key, value))
            return None
        if value is None:
            self._torn = self._torn or f"a tombstone instead of a meta record at offset {offset}"
            return None
        meta = decode(value)
        if meta.repair:
            self._torn = ""
        elif meta.seq <= self.last.seq and not self._torn:
            self._torn = f"sequence {self.last.seq} -> {meta.seq} at offset {offset}"
        fits = meta.seq == self.last.seq + 1 and meta.count == self._count
        if not (fits and meta.checksum == self._checksum) and not self.suspicion:
            self.suspicion = (
                f"transaction {meta.seq} at offset {offset} has {self._count} states "
                f"(written: {meta.count}) and follows {self.last.seq}"
            )
        meta.changelog_offset, meta.verified = offset + 1, False
        meta.purged = self.last.purged
        states, self._states, self._count, self._checksum, self.last = self._states, {}, 0, 0, meta
        return states, meta

    def end(self) -> None:
        """Check that the sequence rose and the log ended with a meta record.

        Raises:
            ChangelogTorn: It does not rise, or half of a transaction is visible.
        """
        if self._torn:
            raise ChangelogTorn(self._torn)
        if self._count:
            raise ChangelogTorn(
                f"{self._count} states after the last meta record (sequence {self.last.seq})"
            )
