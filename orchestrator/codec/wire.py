"""The Confluent wire format: a zero byte, the schema's id in four bytes, the Avro body."""

from __future__ import annotations

from orchestrator.errors import DecodeError

MAGIC = 0
PREFIX_BYTES = 5


def prefix(schema_id: int) -> bytes:
    """Return the five bytes that stand before a body written with ``schema_id``."""
    return bytes((MAGIC,)) + schema_id.to_bytes(4, "big")


def schema_id(value: bytes) -> int:
    """Return the id of the schema that ``value`` was written with.

    Raises:
        DecodeError: Too short, or another magic byte: not this format.
    """
    if len(value) < PREFIX_BYTES:
        raise DecodeError(f"{len(value)} bytes are too few for a schema id", "truncated")
    if value[0] != MAGIC:
        raise DecodeError(f"magic byte {value[0]} instead of {MAGIC}", "wrong_magic")
    return int.from_bytes(value[1:PREFIX_BYTES], "big")
