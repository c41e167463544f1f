"""``occurred_at`` of a record: an instant, or a wall time in the mapping's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InputError
from orchestrator.expressions.instants import MAX_INSTANT, parse_instant

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_WALL: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?", re.ASCII)
_FRACTION: Final = re.compile(r"([.,]\d{6})\d+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def instant_of(value: object, zone: ZoneInfo | None) -> int:
    """Return epoch ms of epoch ms, of ISO 8601 with an offset, or of a wall time in ``zone``.

    Raises:
        InputError: ``bad_time``.
    """
    match value:
        case bool():
            raise InputError(f"occurred_at is {value}", "bad_time")
        case int():
            return _bounded(value)
        case float() if value.is_integer():
            return _bounded(int(value))
        case str():
            return _bounded(_of_text(value.strip(), zone))
        case _:
            raise InputError(f"occurred_at is {value!r}, which is no instant", "bad_time")


def _bounded(at: int) -> int:
    if not 0 < at <= MAX_INSTANT:
        # Kafka takes 0 for "now", and records have no time before 1970.
        raise InputError(f"occurred_at is {at} ms, outside the years 1970 to 9999", "bad_time")
    return at


def _of_text(text: str, zone: ZoneInfo | None) -> int:
    at = parse_instant(text)
    if at is not None:
        return at
    if not _WALL.fullmatch(text):
        remedy = "; write long(...) around epoch ms" if text.isdigit() else ""
        raise InputError(f"occurred_at is {text!r}, which is no instant{remedy}", "bad_time")
    if zone is None:
        raise InputError(
            f"occurred_at is {text!r}, without offset; give the mapping a zone", "bad_time"
        )
    try:
        wall = datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper()))
    except ValueError as error:
        raise InputError(
            f"occurred_at is {text!r}, and there is no such time", "bad_time"
        ) from error
    return wall_instant(wall, zone)


def wall_instant(wall: datetime, zone: ZoneInfo) -> int:
    """Return epoch ms of a wall time; in a DST gap the first instant behind it, of two the first."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) != wall:
        at = _behind_gap(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), at, zone)
    return (at - _EPOCH) // _MS


def _behind_gap(before: datetime, behind: datetime, zone: ZoneInfo) -> datetime:
    """Return where the offset changes between two instants: clocks jump at a whole second."""
    offset = before.astimezone(zone).utcoffset()
    before = before.replace(microsecond=0)
    low, high = 0, int((behind - before).total_seconds()) + 1
    while low < high:
        middle = (low + high) // 2
        moved = before + timedelta(seconds=middle)
        if moved.astimezone(zone).utcoffset() == offset:
            low = middle + 1
        else:
            high = middle
    return before + timedelta(seconds=low)
