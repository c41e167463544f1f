"""What time the log has, as far as a worker can tell. Decides when to tick, never what fires."""

from __future__ import annotations

import time
from dataclasses import dataclass

PROMPT_S = 1.0
"""An acknowledgement that took longer says nothing about the broker's clock."""
ALARM_MS = 5_000.0


def wall_ms() -> float:
    """Return this machine's time, epoch ms."""
    return time.time() * 1000


@dataclass(slots=True)
class LogClock:
    """Estimate of a partition's clock = wall clock + ``offset`` (ms).

    It starts at the wall clock, not at the last record: with an old backlog it would else run hours
    late in a partition that falls silent.
    """

    offset: float = 0.0

    def now(self, wall: float) -> float:
        """Return the estimate at wall time ``wall`` (epoch ms)."""
        return wall + self.offset

    def saw(self, log_time: int, wall: float) -> None:
        """A record was read: the log is at least as far."""
        self.offset = max(self.offset, log_time - wall)

    def acknowledged(self, log_time: int, wall: float, took: float) -> bool:
        """A tick got ``log_time`` after ``took`` seconds; return whether the clocks are far apart.

        Replaces the estimate, so that it also follows a clock that went back.
        """
        if took < PROMPT_S:
            self.offset = log_time - wall
        return abs(self.offset) > ALARM_MS


@dataclass(slots=True)
class TickState:
    """The one tick of a partition that may be under way. Instants are monotonic seconds."""

    gap: float
    lost: float
    stuck: float
    sent_at: float | None = None
    offset: int | None = None
    """Where it lies in the log, once acknowledged."""
    last: float = 0.0
    given_up: int = 0

    def may_send(self, mono: float, silent_since: float, position: int) -> bool:
        """Whether the partition is silent for long enough and no tick is under way.

        It is under way until it has been *consumed*: an acknowledged tick behind an open upstream
        transaction would else be followed by one more in every gap.
        """
        if self.sent_at is not None:
            if self.offset is not None and position > self.offset:
                self.sent_at = None
            elif mono - self.sent_at < (self.lost if self.offset is None else self.stuck):
                return False
            else:
                self.given_up += 1
                self.sent_at = None
        return mono - max(silent_since, self.last) >= self.gap

    def sent(self, mono: float) -> None:
        """A tick is under way."""
        self.sent_at, self.offset, self.last = mono, None, mono

    def acknowledged(self, offset: int, sent_at: float) -> None:
        """The tick that was sent at ``sent_at`` lies at ``offset``."""
        if self.sent_at == sent_at:
            self.offset = offset

    def failed(self, sent_at: float) -> None:
        """The tick that was sent at ``sent_at`` did not reach the log."""
        if self.sent_at == sent_at:
            self.sent_at = None

    def outstanding(self, mono: float, position: int) -> float:
        """Return for how many seconds a tick has been under way; 0 = none is."""
        if self.sent_at is None or (self.offset is not None and position > self.offset):
            return 0.0
        return mono - self.sent_at

    def reset(self) -> None:
        """Forget a tick of an earlier ownership."""
        self.sent_at = self.offset = None
