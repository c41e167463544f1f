"""Quiet hours: windows of the customer's wall clock in which a channel is silent."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from orchestrator import ids
from orchestrator.stages.calendar import weekday

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Policy, QuietHours

_MOST_WINDOWS = 1_000
"""Windows that follow each other without a break for longer than this never end."""


_MOST_DAYS = 10_000
"""Of zones and channels, that are kept in memory."""


class Window(NamedTuple):
    """One quiet window, epoch ms, half-open."""

    start: int
    end: int
    name: str


def current(policy: Policy, calendar: Calendar, channel: str, now: int) -> Window | None:
    """Return the quiet window around ``now``; windows that touch or overlap are one."""
    first = _covering(policy, calendar, channel, now)
    if first is None:
        return None
    end = first.end
    for _ in range(_MOST_WINDOWS):
        following = _covering(policy, calendar, channel, end)
        if following is None:
            break
        end = following.end
    return Window(first.start, end, first.name)


def next_start(policy: Policy, calendar: Calendar, channel: str, now: int) -> int | None:
    """Return the first begin of a quiet window later than ``now``."""
    if not _rules(policy, channel):
        return None
    today = calendar.day(now)
    days = (
        [window.start for window in _windows(policy, calendar, channel, day) if window.start > now]
        for day in count(today - 1)  # every rule begins anew within two weeks
    )
    return min(next(starts for starts in days if starts))


def release(
    policy: Policy, calendar: Calendar, channel: str, customer_id: str, end: int, expires_at: int
) -> int:
    """Return when a send that quiet hours held until ``end`` is tried again.

    Spread by the customer's hash, never past its expiry or into the next window.
    """
    latest = end + policy.spread_ms
    latest = min(latest, next_start(policy, calendar, channel, end) or latest)
    if expires_at > end:
        latest = min(latest, expires_at)
    return end + (latest - end) * ids.bucket("spread", customer_id) // ids.BUCKETS


def _covering(policy: Policy, calendar: Calendar, channel: str, now: int) -> Window | None:
    """Return, of the windows around ``now``, the one that ends last."""
    if not _rules(policy, channel):
        return None
    today = calendar.day(now)
    around = [
        window
        for day in (today - 1, today)
        for window in _windows(policy, calendar, channel, day)
        if window.start <= now < window.end
    ]
    return max(around, key=lambda window: window.end) if around else None


def _rules(policy: Policy, channel: str) -> list[QuietHours]:
    return [rule for rule in policy.quiet_hours if not rule.channels or channel in rule.channels]


def _windows(policy: Policy, calendar: Calendar, channel: str, day: int) -> list[Window]:
    """Return the windows that start on ``day``: the same for all customers of a zone."""
    known: dict[tuple[str, str, int], list[Window]] = policy.derived.setdefault("quiet", {})
    place = calendar.zone, channel, day
    windows = known.get(place)
    if windows is None:
        if len(known) >= _MOST_DAYS:  # days pass; so do these
            known.clear()
        windows = known[place] = list(_starting(_rules(policy, channel), calendar, day))
    return windows


def _starting(rules: list[QuietHours], calendar: Calendar, day: int) -> Iterator[Window]:
    """Yield the windows that start on ``day``; ``start`` = ``end`` lasts a whole day."""
    for rule in rules:
        if rule.days and weekday(day) not in rule.days:
            continue
        last = day if rule.start < rule.end else day + 1
        start = calendar.at_minutes(day, rule.start)
        end = calendar.at_minutes(last, rule.end)
        if start < end:
            yield Window(start, end, rule.name)
