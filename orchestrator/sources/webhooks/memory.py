"""The events that webhooks brought in the last days, in this process: their copies are not written again.

Best effort: a new process begins with nothing, and collectors do not know of each other. Behind it each
customer remembers events by their ids, which are the same for every copy.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

KEPT_MS: Final = 4 * 24 * 3_600_000
"""Longer than any provider repeats: Stripe three days, SendGrid has been seen after 29 hours."""
MOST: Final = 250_000
"""Of a generation; two of them are some 50 MB."""


class Seen:
    """Two generations of hashes; the older is dropped as a whole."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._new: set[int] = set()
        self._old: set[int] = set()
        self._since = 0

    def __contains__(self, name: tuple[str, ...]) -> bool:
        key = _key(name)
        return key in self._new or key in self._old

    def add(self, name: tuple[str, ...], now: int) -> None:
        """Remember what Kafka has acknowledged; for four days, or less under very many."""
        if now - self._since > KEPT_MS or len(self._new) >= self._most:
            # At least KEPT_MS lie in the two together, at most twice that.
            self._old, self._new, self._since = self._new, set(), now
        self._new.add(_key(name))


def _key(name: tuple[str, ...]) -> int:
    digest = blake2b("\x1f".join(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
