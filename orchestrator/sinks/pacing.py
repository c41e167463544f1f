"""When to ask a provider again, and how fast to ask at all. Pure: time and chance are arguments."""

from __future__ import annotations

BASE_S = 0.5
"""Mean first pause is half of this: most refusals are over within a second."""
CAP_S = 60.0
"""A message that is refused for long is tried once a minute."""
PATIENCE_S = 3600.0
"""A Retry-After beyond an hour is cut: the action's own expiry decides what is too late."""


def retry_delay(attempt: int, after: float | None, chance: float) -> float:
    """Return seconds to wait after the ``attempt``-th refusal (from 1): full jitter.

    Args:
        attempt: How often it was tried.
        after: The provider's Retry-After in seconds; never undercut.
        chance: Drawn from [0, 1).
    """
    delay = chance * min(CAP_S, BASE_S * 2.0 ** min(attempt, 20))
    return delay if after is None else min(PATIENCE_S, after) + delay


class TokenBucket:
    """At most ``rate`` a second, with bursts of one second's worth; 0 = no limit."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._room = max(1.0, rate)
        self._tokens = self._room
        self._at = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or return in how many seconds there is one."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._room, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate
