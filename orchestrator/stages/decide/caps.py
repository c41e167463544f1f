"""Frequency caps and gaps, counted from the customer's own sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.expressions.durations import DAY_MS, Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Cap, Catalog, Message
    from orchestrator.stages.decide.state import Sent
    from orchestrator.stages.decide.turn import Turn

_WINDOWS = {"day": Duration(1, 0), "week": Duration(7, 0), "month": Duration(31, 0)}
_SLACK_MS = 2 * DAY_MS
"""Beyond this a change of clocks or of zone cannot stretch a window."""


class Hold(NamedTuple):
    """A rule that holds a send back until an instant."""

    rule: str
    until: int
    used: int
    limit: int


def applies(cap: Cap, catalog: Catalog, message: str, channel: str, category: str) -> bool:
    """Whether a send falls under a cap; its scopes are ANDed.

    ``about`` looks at what messages are about now, also for past sends.
    """
    if cap.channels and channel not in cap.channels:
        return False
    if cap.categories and category not in cap.categories:
        return False
    if cap.message is not None and cap.message != message:
        return False
    if cap.about is not None:
        known = catalog.messages.get(message)
        return known is not None and known.about == cap.about
    return True


def falls_under(turn: Turn, name: str, sent: Sent) -> bool:
    """Whether a send takes a slot of the cap of that name."""
    cap = next(cap for cap in turn.catalog.policy.caps if cap.name == name)
    return applies(cap, turn.catalog, sent.message, sent.channel, sent.category)


def counted(turn: Turn, without: Iterable[Sent] = ()) -> list[Sent]:
    """Return the sends that hold a slot, oldest first, without some of them."""
    skip = {id(sent) for sent in without}
    return [
        sent
        for sent in turn.customer.sends
        if sent.counts and not sent.returned and id(sent) not in skip
    ]


def window_end(cap: Cap, calendar: Calendar, at: int) -> int:
    """Return when a slot taken at ``at`` is free again."""
    match cap.per:
        case "day":
            return calendar.next_day(at)
        case "week":
            return calendar.next_week(at)
        case "month":
            return calendar.next_month(at)
        case _:  # rolling
            return calendar.add(at, cap.rolling or Duration())


def usage(turn: Turn, cap: Cap, sends: list[Sent]) -> list[int]:
    """Return when each slot of ``cap`` that is taken now becomes free, latest first.

    A slot is asked for by its end, so that a count never rises again by a change of clocks.
    """
    calendar, now, catalog = turn.calendar, turn.now, turn.catalog
    oldest = now - longest(cap).milliseconds() - _SLACK_MS
    ends = []
    for sent in reversed(sends):
        if sent.at < oldest:
            break
        if applies(cap, catalog, sent.message, sent.channel, sent.category):
            end = window_end(cap, calendar, sent.at)
            if end > now:
                ends.append(end)
    return ends


def longest(cap: Cap) -> Duration:
    """Return a span that no slot of ``cap`` outlasts by more than two days."""
    return cap.rolling or _WINDOWS[cap.per]


def capped(turn: Turn, message: Message, channel: str, sends: list[Sent]) -> Hold | None:
    """Return the cap that holds a send back longest, None = all have a slot."""
    worst: Hold | None = None
    for cap in turn.catalog.policy.caps:
        if not applies(cap, turn.catalog, message.name, channel, message.category):
            continue
        ends = usage(turn, cap, sends)
        if len(ends) >= cap.limit:
            until = ends[cap.limit - 1]
            if worst is None or until > worst.until:
                worst = Hold(cap.name, until, len(ends), cap.limit)
    return worst


def gapped(turn: Turn, channel: str, sends: list[Sent]) -> Hold | None:
    """Return the gap that holds a send back longest: ``any``, or that of its channel."""
    gap, calendar = turn.catalog.policy.gap, turn.calendar
    if not gap or not sends:
        return None
    worst: Hold | None = None
    for rule in ("any", channel):
        span = gap.get(rule)
        last = next((sent.at for sent in reversed(sends) if rule in {"any", sent.channel}), None)
        if span is None or last is None:
            continue
        until = calendar.add(last, span)
        if until > turn.now and (worst is None or until > worst.until):
            worst = Hold(rule, until, last, span.milliseconds())
    return worst
