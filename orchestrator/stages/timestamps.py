"""Instants as text: ISO 8601 with an offset, and dates."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.records import Value
    from orchestrator.stages.calendar import Calendar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?([Zz]|[+-]\d\d(?::?\d\d)?)"
)


def parse_instant(text: str) -> int | None:
    """Return epoch ms of an ISO 8601 timestamp with offset; None if it is none."""
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{offset.upper()}")
    except ValueError:
        return None
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    return (moment - _EPOCH) // _MILLISECOND + milliseconds


def parse_date(text: str) -> int | None:
    """Return days since 1970-01-01 of an ISO 8601 date; None if it is none."""
    if _DATE.fullmatch(text := text.strip()) is None:
        return None
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def to_instant(value: Value | list[bool | int | float | str], calendar: Calendar) -> int | None:
    """Return the instant that a value means: epoch ms, a timestamp, or a date (00:00 in the zone).

    Anything else is None.
    """
    match value:
        case bool():
            return None
        case int():
            return value
        case str():
            instant = parse_instant(value)
            if instant is None and (day := parse_date(value)) is not None:
                return calendar.at_minutes(day, 0)
            return instant
        case _:
            return None
