"""Deterministic ids: the same cause always gives the same id, so repetition is visible as repetition.

Recipe: the first 16 bytes, in hex, of SHA-256 over the kind and the parts, joined by the byte 0x1F.
The golden values in ``tests/test_ids.py`` hold for ever: ids stand in logs, ledgers and providers.

Buckets (splits, holdout, spread) use the same joining; the first 8 bytes as a number, modulo 10,000.
"""

from __future__ import annotations

from hashlib import sha256

SEPARATOR = "\x1f"
BUCKETS = 10_000
PROVISIONAL_PREFIX = "anon:"
MAX_CUSTOMER_ID_BYTES = 200
"""A longer primary identity is refused: it would bloat every key of the system."""


def make_id(kind: str, *parts: str) -> str:
    """Return 32 hex characters for ``kind`` and ``parts``."""
    return sha256(SEPARATOR.join((kind, *parts)).encode()).hexdigest()[:32]


def _digest(*parts: str) -> bytes:
    return sha256(SEPARATOR.join(parts).encode()).digest()


def bucket(*parts: str) -> int:
    """Return a stable bucket 0..9999 for ``parts``."""
    return int.from_bytes(_digest(*parts)[:8], "big") % BUCKETS


def timer_cause(due: int) -> str:
    """Return the cause of everything that a timer due at ``due`` (epoch ms) does."""
    return f"timer:{due}"


def entry_id(customer_id: str, journey: str, key: str, cause: str) -> str:
    """Return the id of one passage of a customer (id at entry) through a journey."""
    return make_id("entry", customer_id, journey, key, cause)


def action_id(entry: str, step: str, pass_: int, attempt: int) -> str:
    """Return the id of an action; ``attempt`` counts those already emitted in that pass."""
    return make_id("action", entry, step, str(pass_), str(attempt))


def decision_id(
    cause: str, customer_id: str, entry_or_journey: str, step: str, outcome: str, ordinal: int
) -> str:
    """Return the id of a decision; ``ordinal`` is its number within the record that caused it."""
    return make_id("decision", cause, customer_id, entry_or_journey, step, outcome, str(ordinal))


def merge_id(loser: str, winner: str, cause: str) -> str:
    """Return the id of one merge of two customers."""
    return make_id("merge", loser, winner, cause)


def receipt_id(action: str, status: str) -> str:
    """Return the event_id of a sink's receipt; ``status`` as in ``message.STATUS``."""
    return make_id("receipt", action, status)


def event_id(source: str, *stable_parts: str) -> str:
    """Return an event_id for an upstream that has none, from the parts that a retry repeats."""
    return make_id("event", source, *stable_parts)


def provisional_id(identity: str) -> str:
    """Return the customer id of an unknown ``kind:value``: the strongest identity at first sight."""
    return PROVISIONAL_PREFIX + sha256(identity.encode()).hexdigest()[:32]


def draw_seed(entry: str, step: str, pass_: int) -> int:
    """Return the 64-bit seed of a draw of ``choose``."""
    return int.from_bytes(_digest("draw", entry, step, str(pass_))[:8], "big")
