"""Record headers: CloudEvents (Kafka binding, binary mode), the trace, and the backfill mark.

Headers are a function of the record and its cause, like the record itself: written twice, they are
the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec import Struct

from orchestrator.records import (
    Absorb,
    Action,
    CatalogSwitch,
    Decision,
    Definition,
    Delivery,
    Event,
    Forget,
    Inbox,
    Link,
    Merge,
    Model,
    Outcome,
    Record,
    Skip,
    Tick,
)

Header = tuple[str, bytes]
Headers = list[Header]
_SPEC_VERSION = ("ce_specversion", b"1.0")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
DAY_MS = 86_400_000
BACKFILL = ("backfill", b"true")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class RecordHeaders(Struct, kw_only=True):
    """What the headers of a record say; None where they say nothing, or nothing readable."""

    id: str | None = None
    type: str | None = None
    source: str | None = None
    time: int | None = None
    """Epoch milliseconds."""
    trace: str | None = None
    """W3C traceparent."""
    backfill: bool = False


def headers_for(
    record: Record, source: str, *, trace: str | None = None, backfill: bool = False
) -> Headers:
    """Return the headers of ``record``.

    Args:
        record: What is written. An Event names its own source and type.
        source: ``ce_source`` of everything else: the deployment (``app.id``).
        trace: W3C traceparent of the cause; an Action or Decision carries its own.
        backfill: Whether the event tells of the past and must start nothing.
    """
    kind = type(record)
    number, at = _IDENTITY[kind](record)
    if kind is Event:
        headers = [_SPEC_VERSION, *_about(record.type, record.source)]  # type: ignore[union-attr]
    else:
        headers = [_SPEC_VERSION, *_about(_TYPES[kind], source)]
    if number:
        headers.insert(1, ("ce_id", number.encode()))
    if at is not None and (time := _time(at)) is not None:
        headers.append(time)
    if kind is Action or kind is Decision:
        trace = record.trace or trace  # type: ignore[union-attr]
    if trace:
        headers.append(("traceparent", trace.encode()))
    if backfill:
        headers.append(BACKFILL)
    return headers


def read_headers(headers: Sequence[tuple[str, str | bytes | None]] | None) -> RecordHeaders:
    """Return what ``headers`` say; never raises: a header is never a reason to lose a record."""
    found = RecordHeaders()
    for name, raw in headers or ():
        if raw is None:
            continue
        value = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
        match name:
            case "ce_id":
                found.id = value
            case "ce_type":
                found.type = value
            case "ce_source":
                found.source = value
            case "ce_time":
                found.time = _millis(value)
            case "traceparent":
                found.trace = value if _TRACE.fullmatch(value) else None
            case "backfill":
                found.backfill = value == "true"
            case _:
                pass
    return found


def _of_action(action: Action) -> tuple[str, int | None]:
    if action.kind == "cancel":
        # It carries the id of what it cancels, and must not be taken for its duplicate.
        return f"{action.action_id}/cancel", action.decided_at
    return action.action_id, action.decided_at


def _nothing(_: Record) -> tuple[str, int | None]:
    return "", None


_IDENTITY: Mapping[type, Callable[[Any], tuple[str, int | None]]] = {
    Event: lambda event: (event.event_id, event.occurred_at),
    Action: _of_action,
    Decision: lambda decision: (decision.decision_id, decision.decided_at),
    Outcome: lambda outcome: (f"{outcome.decision_id}/outcome", outcome.settled_at),
    Link: lambda link: (f"{link.a}/{link.b}/{link.customer_id}", link.first_seen),
    Merge: lambda merge: (merge.merge_id, None),
    Absorb: lambda absorb: (f"{absorb.merge_id}/absorb", None),
    Forget: lambda forget: (forget.order_id, None),
    CatalogSwitch: lambda switch: (switch.catalog, None),
    Definition: lambda definition: (definition.hash, None),
    Model: lambda model: (f"{model.decision_point}/{model.version}", None),
    Delivery: lambda line: (f"{line.action_id}/{line.state}/{line.attempts}", line.at),
    Inbox: _nothing,
    Skip: _nothing,
    Tick: _nothing,
}
"""``ce_id`` (unique within a source; equal for equal causes) and ``ce_time`` of each record."""
_TYPES = {record: f"journey.{record.__name__}" for record in _IDENTITY} | {
    CatalogSwitch: "journey.Catalog"
}


@lru_cache(maxsize=1_024)
def _about(kind: str, source: str) -> tuple[Header, Header]:
    return ("ce_type", kind.encode()), ("ce_source", source.encode())


@lru_cache(maxsize=4_096)  # under load many records are of one instant
def _time(at: int) -> Header | None:
    day, rest = divmod(at, DAY_MS)
    if (date := _date(day)) is None:
        return None  # times come from outside: not every long is a date
    second, ms = divmod(rest, 1000)
    time = f"{date}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{ms:03}Z"
    return "ce_time", time.encode()


@lru_cache(maxsize=64)
def _date(day: int) -> str | None:
    try:
        return (EPOCH + timedelta(days=day)).date().isoformat()
    except OverflowError:
        return None


def _millis(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(text)
        return (instant - EPOCH) // MILLISECOND
    except (ValueError, TypeError, OverflowError):  # no date, no offset, before year 1
        return None
