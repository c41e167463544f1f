"""What is kept per identity: one row of the table ``identities``, key ``kind:value``.

Same rules of layout as ``stages.decide.state``.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from orchestrator.errors import UnavailableError

VERSION = 1
MAX_LINKS = 64


class Identity(Struct, array_like=True, omit_defaults=True):
    """One identity. An empty ``customer_id`` is an identity that was never seen."""

    due: int = 0
    catalog: int = 0
    customer_id: str = ""
    first_seen: int = 0
    links: list[str] = []
    """``kind:value`` of identities already linked, oldest first, at most 64: a Link is sent once."""
    joined: list[str] = []
    """Other customers that this identity was seen with, oldest first; with ``customer_id`` they are
    at most ``join_limit``."""
    refused: int = 0
    """Links that would have gone beyond ``join_limit``, or that touch a blocked identity."""


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
