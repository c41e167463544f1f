"""Instants as text: ISO 8601 with a time and an offset (RFC 3339), to epoch ms and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FORM = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_FRACTION = re.compile(r"(\.\d{6})\d+")
MIN_INSTANT = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
MAX_INSTANT = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // _MS


def parse_instant(text: str) -> int | None:
    """Return epoch ms, or None if ``text`` is no instant with a time and an offset."""
    if _FORM.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper()))
    except ValueError:
        return None
    return (moment - _EPOCH) // _MS


def format_instant(instant: int) -> str | None:
    """Return ``instant`` (epoch ms) as text in UTC, or None beyond the years 1 to 9999."""
    if not MIN_INSTANT <= instant <= MAX_INSTANT:
        return None
    moment = _EPOCH + instant * _MS
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{instant % 1000:03d}" if instant % 1000 else ""
    return f"{text}{fraction}Z"
