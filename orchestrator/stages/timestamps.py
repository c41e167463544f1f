"""Instants as values: epoch ms, ISO 8601 text with an offset, and dates."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from orchestrator.expressions.instants import parse_instant

if TYPE_CHECKING:
    from orchestrator.records import Value
    from orchestrator.stages.calendar import Calendar

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_date(text: str) -> int | None:
    """Return days since 1970-01-01 of an ISO 8601 date; None if it is none."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def to_instant(value: Value, calendar: Calendar) -> int | None:
    """Return the instant that a value means; None if it means none.

    A number is epoch ms, text is ISO 8601 with an offset, or a date: 00:00 in the customer's zone.
    """
    if isinstance(value, str):
        instant = parse_instant(value)
        if instant is None and (day := parse_date(value)) is not None:
            return calendar.at_minutes(day, 0)
        return instant
    return value if isinstance(value, int) and not isinstance(value, bool) else None
