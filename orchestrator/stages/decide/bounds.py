"""The bounds that keep a customer's state small, whatever arrives."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.records import Value
    from orchestrator.stages.decide.state import Customer, TraitState

CONTEXT_BYTES = 4_096
"""``entry.x`` and ``latest.x`` hold at most this much of an event."""
ALL_CONTEXTS_BYTES = 32_768
"""What all entries of a customer, live and ended, hold of events together."""
_FEW = 3
"""Entries, live and ended, that cannot hold more than that."""
_NUMBER_BYTES = 9
TEXT_BYTES = 1_024
"""A longer text is no value for a trait."""
DISTINCT_BYTES = 16_384
"""What the distinct values of a ``set`` or ``up`` trait take together."""
NAME_BYTES = 96
"""Keys of entries and ids of events are kept at this length at most."""
_DIGEST_CHARS = 32


def context(customer: Customer, properties: Mapping[str, Value]) -> dict[str, Value]:
    """Return what an entry keeps of an event.

    What ended entries hold for a late goal gives way, oldest first; then there is only what is left.
    """
    kept = bounded(properties)
    if len(customer.entries) + len(customer.past) <= _FEW:
        return kept
    ended = sorted(
        (past for past in customer.past.values() if past.entry or past.latest),
        key=lambda past: (past.ended, past.entry_id),
    )
    left = ALL_CONTEXTS_BYTES - sum(size(past.entry) + size(past.latest) for past in ended)
    for entry in customer.entries:
        left -= size(entry.entry) + size(entry.latest or {})
        left -= sum(size(hit.properties) for hit in entry.hits)
    needed = size(kept)
    for past in ended:
        if needed <= left:
            break
        left += size(past.entry) + size(past.latest)
        past.entry, past.latest = {}, {}
    return kept if needed <= left else bounded(kept, left)


def size(properties: Mapping[str, Value]) -> int:
    """Return about how many bytes properties take."""
    return sum(_size(name, value) for name, value in properties.items())


def _size(name: str, value: Value) -> int:
    return len(name.encode()) + (len(value.encode()) if isinstance(value, str) else _NUMBER_BYTES)


def bounded(properties: Mapping[str, Value], most: int = CONTEXT_BYTES) -> dict[str, Value]:
    """Return the properties in their order, without those that would exceed the bound."""
    kept: dict[str, Value] = {}
    left = most
    for name, value in properties.items():
        needed = _size(name, value)
        if needed <= left:
            left -= needed
            kept[name] = value
    return kept


def too_long(value: object) -> bool:
    """Whether a value is a text that no trait keeps."""
    return (
        isinstance(value, str) and len(value) * 4 > TEXT_BYTES and len(value.encode()) > TEXT_BYTES
    )


def surplus(state: TraitState, limit: int, most: int = DISTINCT_BYTES) -> int:
    """Return how many distinct values must go, oldest first, for the newest to keep the bounds."""
    count = len(state.open)
    if count * TEXT_BYTES <= most:
        return max(count - limit, 0)
    left = most
    for kept, value in enumerate(reversed(state.open)):
        left -= len(value.encode()) if isinstance(value, str) else _NUMBER_BYTES
        if left < 0 or kept == limit:
            return count - kept
    return 0


def short(name: str) -> str:
    """Return a name from outside as it is kept: a long one as its beginning and its digest."""
    if len(name) * 4 <= NAME_BYTES or len(data := name.encode()) <= NAME_BYTES:
        return name
    head = data[: NAME_BYTES - _DIGEST_CHARS - 1].decode(errors="ignore")
    return f"{head}~{sha256(data).hexdigest()[:_DIGEST_CHARS]}"
