"""Whether a channel's provider may be asked now: rate limit, Retry-After, circuit breaker.

One gate for all partitions of a process. Pure: time and chance are arguments. Behind a closed gate
actions wait unclaimed, so that neither a crash nor an outage of any length costs a message: it leaves
when the gate opens, or is dropped when its time is over.

- ``pace``: the gate closes for as long as the provider says, else for about a second.
- ``provider``: after ``FAILURES`` in a row it closes; then one message at a time is a probe, after
  pauses that grow to a minute. The first that gets through opens it.
- ``setup``: closes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.sinks.pacing import PATIENCE_S, TokenBucket
from orchestrator.sinks.senders.protocol import TryAgain

FAILURES: Final = 5
PACE_S: Final = 1.0
PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
PROBE_S: Final = 60.0
"""A probe that has not come back by then is not waited for any longer."""
AGAIN_S: Final = 0.25
"""Who finds a probe under way asks again so much later."""


class Gate:
    """See the module docstring. ``chance`` draws from [0, 1)."""

    def __init__(self, rate: float, now: float, chance: Callable[[], float]) -> None:
        self._bucket = TokenBucket(rate, now)
        self._chance = chance
        self._failures = 0
        self._rounds = 0
        self._paced_until = now
        self._closed_until = now
        self._probe_until = now
        self.why = ""
        """The reason for which the breaker is open; empty while it is not."""

    def enter(self, now: float) -> float:
        """Return 0: one message may be sent now. Else in how many seconds to ask again."""
        held_until = max(self._paced_until, self._closed_until)
        if now < held_until:
            return held_until - now
        if self.why and now < self._probe_until:
            return AGAIN_S
        wait = self._bucket.take(now)
        if self.why and not wait:
            self._probe_until = now + PROBE_S
        return wait

    def unused(self) -> None:
        """Note that a message which was let in was not shown to the provider, or without an end."""
        self._probe_until = 0.0

    def answered(self) -> None:
        """Note that the provider took a message, or refused it for its own sake."""
        self._failures = self._rounds = 0
        self._closed_until = self._probe_until = 0.0
        self.why = ""

    def refused(self, error: TryAgain, now: float) -> bool:
        """Note a refusal; return whether it counts among the message's tries."""
        match error.blame:
            case "message":
                self.answered()
                return True
            case "pace":
                self._probe_until = now
                self._pace(PACE_S + self._chance() if error.after is None else error.after, now)
                return False
            case "setup":
                self._close(error, now)
                return False
            case "provider":
                if error.after is not None:
                    self._pace(error.after, now)
                self._failures += 1
                if self._failures < FAILURES:
                    return True
                self._close(error, now)
                return False

    def _pace(self, pause: float, now: float) -> None:
        self._paced_until = max(self._paced_until, now + min(PATIENCE_S, pause))

    def _close(self, error: TryAgain, now: float) -> None:
        if self.why and now < self._closed_until:
            return  # an echo: it was sent before the gate closed
        self.why = error.reason
        pause = min(MAX_PAUSE_S, PAUSE_S * 2.0**self._rounds)
        self._rounds = min(self._rounds + 1, 10)
        self._closed_until = now + pause * (0.5 + self._chance() / 2)
        self._probe_until = now
