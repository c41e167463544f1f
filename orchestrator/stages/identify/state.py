"""What is kept per identity: one row of the table ``identities``.

A row's key is a salted hash of ``kind:value``, so that the table names nobody and may remember whom
it has to forget. Same rules of layout as ``stages.decide.state``.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Struct

from orchestrator import ids
from orchestrator.errors import UnavailableError

VERSION = 1
MAX_LINKS = 64


@lru_cache(maxsize=16_384)  # who comes, comes again soon
def row_key(salt: str, identity: str) -> str:
    """Return the key of the row of ``kind:value``."""
    return ids.make_id("identity", salt, identity)


class Identity(Struct, array_like=True, omit_defaults=True):
    """One identity. An empty ``customer_id`` is an identity that was never seen, or was forgotten."""

    due: int = 0
    catalog: int = 0
    customer_id: str = ""
    first_seen: int = 0
    """When ``customer_id`` was first seen: the same in every row that names it."""
    links: list[str] = []
    """Rows already linked, oldest first, at most 64: a Link is sent once."""
    joined: list[str] = []
    """Other customers that this identity joined to its own, oldest first; with ``customer_id`` they
    are at most ``join_limit``."""
    refused: int = 0
    """No longer used: what is refused becomes a dead letter."""
    forgotten: int = 0
    """When it was erased on request: whoever has it next starts with all consent revoked as of then."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Identity).decode
_HEAD = bytes([VERSION])


def encode(state: Identity) -> bytes:
    """Return version byte + MessagePack."""
    return _HEAD + _encode(state)


def decode(data: bytes) -> Identity:
    """Return the state; inverse of ``encode``.

    Raises:
        UnavailableError: Written by a newer version: the partition waits for the upgrade.
    """
    if data[0] > VERSION:
        msg = f"identity version {data[0]} is newer than {VERSION}: upgrade this worker"
        raise UnavailableError(msg)
    return _decode(memoryview(data)[1:])
