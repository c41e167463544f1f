"""The customer's sends: remembered as long as a rule may ask, and no longer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.expressions.durations import DAY_MS, Duration
from orchestrator.stages.decide.caps import applies, longest
from orchestrator.stages.decide.windows import inserted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Catalog, Message
    from orchestrator.stages.decide.state import Customer, Sent

KEPT = 64
"""Sends that are kept whatever their age."""
_SLACK_MS = 2 * DAY_MS
"""Beyond this a change of clocks or of zone cannot stretch a window."""


def remember(customer: Customer, sent: Sent, catalog: Catalog) -> None:
    """Add a send, and drop those that nothing can ask for any more.

    They are ordered by time, those of one instant by id: as a merge orders them.
    """
    sends = customer.sends
    place = len(sends)
    while place and (sends[place - 1].at, sends[place - 1].action) > (sent.at, sent.action):
        place -= 1
    customer.sends = inserted(sends, place, sent)
    if len(customer.sends) > KEPT:
        trim(customer, sent.at, catalog)


def trim(customer: Customer, now: int, catalog: Catalog, kept: int = KEPT) -> None:
    """Keep the newest 64, those that a rule may still ask for, and the latest of each live step."""
    live = {bytes.fromhex(entry.id) for entry in customer.entries}
    latest = {(sent.entry, sent.step): index for index, sent in enumerate(customer.sends)}
    old = len(customer.sends) - kept
    asked = _asked_for(customer.sends, now, catalog)
    sends = []
    for index, sent in enumerate(customer.sends):
        newest = latest[sent.entry, sent.step] == index
        if index >= old or (newest and sent.entry in live) or index in asked:
            sends.append(sent)
        elif not sent.returned:
            customer.ever[sent.message] = max(customer.ever.get(sent.message, 0), sent.at)
    customer.sends = tuple(sends)


def _asked_for(sends: tuple[Sent, ...], now: int, catalog: Catalog) -> set[int]:
    """Return the places of the sends that a cap, a gap or a ``repeat`` may still count.

    A cap looks at no more of them than its limit, a gap and ``repeat`` at the newest; as any may
    still come back (dropped, failed), 64 more are kept. So their number is bounded even where
    messages count and do not obey.
    """
    until = now - _SLACK_MS
    kept: Counter[tuple[str, str]] = Counter()
    found = set()
    for index in reversed(range(len(sends))):
        sent = sends[index]
        if sent.returned:
            continue
        for rule, span, most in _askers(sent, catalog):
            if kept[rule] < most and sent.at + span.milliseconds() > until:
                kept[rule] += 1
                found.add(index)
    return found


def _askers(sent: Sent, catalog: Catalog) -> Iterator[tuple[tuple[str, str], Duration, int]]:
    """Yield what may look back at a send: the rule, for how long, at how many."""
    policy = catalog.policy
    if sent.counts:
        for cap in policy.caps:
            if applies(cap, catalog, sent.message, sent.channel, sent.category):
                yield ("cap", cap.name), longest(cap), cap.limit + KEPT
        for name in ("any", sent.channel):
            if name in policy.gap:
                yield ("gap", name), policy.gap[name], KEPT
    message = catalog.messages.get(sent.message)
    if message is not None and isinstance(message.repeat, Duration):
        yield ("repeat", sent.message), message.repeat, KEPT


def already_sent(
    customer: Customer, message: Message, now: int, calendar: Calendar, *, except_entry: str = ""
) -> int | None:
    """Return when a message was last sent if ``repeat`` forbids another one, else None."""
    if message.repeat == "always":
        return None
    own = bytes.fromhex(except_entry)
    last = customer.ever.get(message.name)
    for sent in reversed(customer.sends):
        if sent.message == message.name and not sent.returned and (not own or sent.entry != own):
            last = sent.at if last is None else max(last, sent.at)
            break
    if last is None or message.repeat == "never":
        return last
    return last if calendar.add(last, message.repeat) > now else None
