"""What an expression may read while it is evaluated. The decide stage implements it."""

from __future__ import annotations

from typing import Literal, Protocol

Value = bool | int | float | str | list[bool | int | float | str] | None
"""What an expression may yield; a timestamp is epoch ms; ``None`` is null; a list is a set trait."""

Flag = Literal["sent", "accepted", "delivered", "opened", "clicked"]
Comparison = Literal["<", "<=", ">", ">=", "==", "!="]


class Scope(Protocol):
    """One evaluation's world. Every reader is total: what is missing is ``None``, 0 or false."""

    now: int
    """Log time, epoch ms."""

    def trait(self, name: str) -> Value:
        """Value of a declared trait; ``lifecycle`` is one."""
        ...

    def event(self, name: str) -> Value:
        """Property of the event at hand."""
        ...

    def entry(self, name: str) -> Value:
        """Property of the event that started the entry."""
        ...

    def latest(self, name: str) -> Value:
        """Property of the last event that started, moved or restarted the entry."""
        ...

    def flag(self, step: str, flag: Flag) -> bool:
        """What became of the latest pass of a send step of this entry."""
        ...

    def consent(self, channel: str, category: str) -> bool:
        """Whether a send would be allowed by consent now."""
        ...

    def count(self, type_: str, window_ms: int) -> int:
        """Events of a type later than now - window."""
        ...

    def last(self, type_: str) -> int | None:
        """occurred_at of the newest event of a type, epoch ms."""
        ...

    def days_since(self, instant: int) -> int:
        """Whole calendar days in the customer's zone from ``instant`` to now (same wall time)."""
        ...

    # Watched conditions: the instant at which time alone may change the truth of one atom.
    # Each returns the earliest instant later than ``now``, or None if time alone never does.

    def when_trait_crosses(self, name: str, comparison: Comparison, bound: float) -> int | None:
        """For traits that move with time (score, windowed count and sum)."""
        ...

    def when_count_crosses(
        self, type_: str, window_ms: int, comparison: Comparison, bound: float
    ) -> int | None:
        """For ``count(type, window)``."""
        ...

    def when_days_since(self, instant: int, comparison: Comparison, bound: float) -> int | None:
        """For ``days_since(instant)``."""
        ...
