"""Quiet hours as windows on a customer's calendar: half-open, crossing midnight where they say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.calendar import weekday

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import QuietHours

_FULL_WEEK = 8
"""Days to look ahead: a rule that names one weekday begins again within a week."""
_MOST_WINDOWS = 64
"""Windows that may follow one another without a gap before we say: this never ends."""


def window(rule: QuietHours, calendar: Calendar, day: int) -> tuple[int, int] | None:
    """Return the (begin, end) of the window that starts on ``day``, or None if it has none.

    ``from`` equal to ``to`` lasts until that time of the next day. A window that a DST gap swallows
    is none.
    """
    if rule.days and weekday(day) not in rule.days:
        return None
    begin = calendar.at_minutes(day, rule.start)
    end = calendar.at_minutes(day + (rule.end <= rule.start), rule.end)
    return (begin, end) if begin < end else None


def blocking(
    rules: Iterable[QuietHours], calendar: Calendar, instant: int
) -> tuple[QuietHours, int] | None:
    """Return the first of ``rules`` in whose window ``instant`` lies, and that window's end."""
    day = calendar.day(instant)
    for rule in rules:
        for start_day in (day - 1, day):
            found = window(rule, calendar, start_day)
            if found is not None and found[0] <= instant < found[1]:
                return rule, found[1]
    return None


def quiet_end(rules: Iterable[QuietHours], calendar: Calendar, instant: int) -> int | None:
    """Return the first instant >= ``instant`` outside all windows; None if they never leave room."""
    rules = tuple(rules)
    for _ in range(_MOST_WINDOWS):
        block = blocking(rules, calendar, instant)
        if block is None:
            return instant
        instant = block[1]
    return None


def next_begin(rules: Iterable[QuietHours], calendar: Calendar, instant: int) -> int | None:
    """Return the first begin of a window later than ``instant``; None without rules."""
    day = calendar.day(instant)
    begins = [
        found[0]
        for rule in rules
        for start_day in range(day - 1, day + _FULL_WEEK)
        if (found := window(rule, calendar, start_day)) is not None and found[0] > instant
    ]
    return min(begins, default=None)
