"""Record headers: CloudEvents (Kafka binding, binary mode), the trace, and the backfill mark.

Headers are a function of the record and its cause, like the record itself: written twice, they are
the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

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

Headers = list[tuple[str, bytes]]
SPEC_VERSION = b"1.0"
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
    number, at = _identity(record)
    if isinstance(record, Event):
        kind, source = record.type, record.source
    elif isinstance(record, CatalogSwitch):
        kind = "journey.Catalog"
    else:
        kind = f"journey.{type(record).__name__}"
    headers: Headers = [("ce_specversion", SPEC_VERSION)]
    if number:
        headers.append(("ce_id", number.encode()))
    headers += [("ce_type", kind.encode()), ("ce_source", source.encode())]
    if at is not None and (time := _iso(at)) is not None:
        headers.append(("ce_time", time.encode()))
    if isinstance(record, Action | Decision):
        trace = record.trace or trace
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


def _identity(  # noqa: C901, PLR0911, PLR0912 - a table of all records
    record: Record,
) -> tuple[str, int | None]:
    """Return ``ce_id`` (unique within a source; equal for equal causes) and ``ce_time``."""
    match record:
        case Event():
            return record.event_id, record.occurred_at
        case Action(kind="cancel"):
            # It carries the id of what it cancels, and must not be taken for its duplicate.
            return f"{record.action_id}/cancel", record.decided_at
        case Action():
            return record.action_id, record.decided_at
        case Decision():
            return record.decision_id, record.decided_at
        case Outcome():
            return f"{record.decision_id}/outcome", record.settled_at
        case Link():
            return f"{record.a}/{record.b}/{record.customer_id}", record.first_seen
        case Merge():
            return record.merge_id, None
        case Absorb():
            return f"{record.merge_id}/absorb", None
        case Forget():
            return record.order_id, None
        case CatalogSwitch():
            return record.catalog, None
        case Definition():
            return record.hash, None
        case Model():
            return f"{record.decision_point}/{record.version}", None
        case Delivery():
            return f"{record.action_id}/{record.state}/{record.attempts}", record.at
        case Inbox() | Skip() | Tick():
            return "", None


@lru_cache(maxsize=4_096)  # under load many records are of one instant
def _iso(at: int) -> str | None:
    day, rest = divmod(at, DAY_MS)
    if (date := _date(day)) is None:
        return None  # times come from outside: not every long is a date
    second, ms = divmod(rest, 1000)
    return f"{date}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{ms:03}Z"


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
