"""What RocksDB means: rocksdict raises plain exceptions, which only their texts tell apart."""

from __future__ import annotations

DAMAGED = "DAMAGED"
"""The note in a directory that was found damaged: whoever opens it next builds it anew."""
_DAMAGE = ("Corruption", "No such file", "does not exist", "Invalid argument", "file is too short")
"""Said of flipped, cut and missing files; not of locks, full disks and permissions."""
_REFUSALS = (
    "No space left",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
    "Permission denied",
)


def is_damage(error: Exception) -> bool:
    """Whether it speaks of damaged files."""
    text = str(error)
    return "LOCK" not in text and any(word in text for word in _DAMAGE)


def is_refusal(error: Exception) -> bool:
    """Whether it speaks of a disk that is full, failing or closed to us."""
    return any(word in str(error) for word in _REFUSALS)
