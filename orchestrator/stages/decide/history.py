"""The customer's sends: remembered as long as a rule may ask, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.expressions.durations import DAY_MS, Duration
from orchestrator.stages.decide.caps import longest

if TYPE_CHECKING:
    from orchestrator.stages.calendar import Calendar
    from orchestrator.stages.catalog import Catalog, Message
    from orchestrator.stages.decide.state import Customer, Sent

MOST = 400
KEPT = 64
"""Sends that are kept whatever their age."""
_SLACK_MS = 2 * DAY_MS
"""Beyond this a change of clocks or of zone cannot stretch a window."""


def remember(customer: Customer, sent: Sent, catalog: Catalog) -> None:
    """Append a send, and drop those that nothing can ask for any more."""
    customer.sends.append(sent)
    if len(customer.sends) > KEPT:
        trim(customer, sent.at, catalog)


def trim(customer: Customer, now: int, catalog: Catalog) -> None:
    """Keep the newest 64, all inside the longest window, and the latest of each live step.

    Never more than 400, so that the state stays small: a cap with a greater limit does not bind.
    """
    since = now - _horizon_ms(catalog)
    live = {entry.id for entry in customer.entries}
    latest = {(sent.entry, sent.step): index for index, sent in enumerate(customer.sends)}
    old = len(customer.sends) - KEPT
    kept = []
    for index, sent in enumerate(customer.sends):
        newest = latest[sent.entry, sent.step] == index
        inside = sent.at > since and index >= len(customer.sends) - MOST
        if index >= old or inside or (newest and sent.entry in live):
            kept.append(sent)
        elif not sent.returned and (newest or sent.entry not in live):
            customer.ever[sent.message] = max(customer.ever.get(sent.message, 0), sent.at)
    customer.sends = kept


def _horizon_ms(catalog: Catalog) -> int:
    policy = catalog.policy
    spans = [longest(cap) for cap in policy.caps]
    spans.extend(policy.gap.values())
    spans.extend(
        message.repeat
        for message in catalog.messages.values()
        if isinstance(message.repeat, Duration)
    )
    return max((span.milliseconds() for span in spans), default=0) + _SLACK_MS


def already_sent(
    customer: Customer, message: Message, now: int, calendar: Calendar, *, except_entry: str = ""
) -> int | None:
    """Return when a message was last sent if ``repeat`` forbids another one, else None."""
    if message.repeat == "always":
        return None
    last = customer.ever.get(message.name)
    for sent in reversed(customer.sends):
        if (
            sent.message == message.name
            and not sent.returned
            and (not except_entry or sent.entry != except_entry)
        ):
            last = sent.at if last is None else max(last, sent.at)
            break
    if last is None or message.repeat == "never":
        return last
    return last if calendar.add(last, message.repeat) > now else None
