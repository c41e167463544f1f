"""Wall-clock arithmetic in one IANA zone, on epoch milliseconds.

The rules (2-semantics 2.1): calendar days keep the wall time; a wall time in a DST gap means the
first instant after the gap; a doubled wall time means its first occurrence; intervals are half-open.
Every function is total: an instant outside the years 1..9999 takes the nearest known offset.

Rules come from the pinned ``tzdata`` package, never from the machine: two workers must not differ.
Offsets are read from ``zoneinfo`` once per zone and year and kept as plain numbers, because waits,
caps and quiet hours ask thousands of times a second.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from orchestrator.expressions.durations import Duration
    from orchestrator.stages.catalog import Weekday

DAY_MS = 86_400_000
MINUTE_MS = 60_000
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_FIRST_DAY = date.min.toordinal() - _EPOCH_ORDINAL + 2
_LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL - 2
_CHUNK_BITS = 35
"""Offsets are loaded by spans of 2**35 ms, about 398 days."""
_FIRST_CHUNK = _FIRST_DAY * DAY_MS >> _CHUNK_BITS
_LAST_CHUNK = _LAST_DAY * DAY_MS >> _CHUNK_BITS
_FOREVER = 1 << 80
"""ms; beyond every instant that 64 bits hold."""
_PROBE_MS = DAY_MS
"""No zone changes its offset and changes it back within a day (tested for all zones)."""

_Segment = tuple[int, int, int]
"""(first instant, end, offset): ``offset`` ms ahead of UTC holds in [first, end)."""


class Calendar:
    """The calendar of one zone; make it by ``calendar_for`` so that it is shared."""

    __slots__ = ("_chunks", "_last", "_rules", "zone")

    def __init__(self, zone: str) -> None:
        self.zone = zone
        with files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as data:
            self._rules = ZoneInfo.from_file(data, key=zone)
        self._last: _Segment = (0, 0, 0)  # what was asked last is mostly asked again
        self._chunks: dict[int, tuple[list[int], list[_Segment]]] = {}

    def __repr__(self) -> str:
        return f"Calendar({self.zone!r})"

    # -- instants and wall times ----------------------------------------------------------------

    def offset(self, instant: int) -> int:
        """Return how many ms the wall clock is ahead of UTC at ``instant``."""
        return self._segment(instant)[2]

    def resolve(self, wall: int) -> int:
        """Return the instant of a wall time, given as ms since 1970-01-01T00:00 on the wall."""
        start, end, offset = self._segment(wall - DAY_MS)
        while (instant := wall - offset) >= end:
            start, end, offset = self._segment(end)
        return max(instant, start)

    def add(self, instant: int, duration: Duration) -> int:
        """Return ``instant`` + calendar days (same wall time), then + elapsed ms."""
        if duration.days:
            instant = self.resolve(instant + self.offset(instant) + duration.days * DAY_MS)
        return instant + duration.ms

    def subtract(self, instant: int, duration: Duration) -> int:
        """Return ``instant`` - elapsed ms, then - calendar days: the way back of ``add``.

        Around a DST change it is not its exact inverse. What ends some time after an instant
        (a rolling cap, a gap, ``repeat``) is best asked as ``add(instant, duration) > now``, which
        never becomes true again once it is false.
        """
        instant -= duration.ms
        if duration.days:
            instant = self.resolve(instant + self.offset(instant) - duration.days * DAY_MS)
        return instant

    def next_time(
        self, instant: int, minutes: int, weekdays: frozenset[Weekday] = frozenset()
    ) -> int:
        """Return the first instant >= ``instant`` with that wall time, on one of ``weekdays``.

        ``minutes`` after midnight; no weekdays = every day.
        """
        day = (instant + self.offset(instant)) // DAY_MS - 1
        while True:
            if not weekdays or weekday(day) in weekdays:
                found = self.at_minutes(day, minutes)
                if found >= instant:
                    return found
            day += 1

    def at_minutes(self, day: int, minutes: int) -> int:
        """Return the instant of a wall time on ``day`` (days since 1970-01-01)."""
        return self.resolve(day * DAY_MS + minutes * MINUTE_MS)

    def date_at(self, instant: int, minutes: int) -> int:
        """Give a date a time: move ``instant`` to that wall time if it is 00:00 there.

        A date without time is 00:00 in the customer's zone; ``at`` of a wait says another time.
        """
        wall = instant + self.offset(instant)
        return self.resolve(wall + minutes * MINUTE_MS) if wall % DAY_MS == 0 else instant

    # -- calendar days, weeks, months -----------------------------------------------------------

    def day(self, instant: int) -> int:
        """Return the calendar day (days since 1970-01-01) that holds ``instant``; never falls.

        A day lasts from its first 00:00 to the next day's first 00:00, also where clocks go back
        over midnight.
        """
        day = (instant + self.offset(instant)) // DAY_MS
        while self.resolve((day + 1) * DAY_MS) <= instant:
            day += 1
        return day

    def day_start(self, instant: int) -> int:
        """Return the first instant of the day that holds ``instant``."""
        return self.resolve(self.day(instant) * DAY_MS)

    def next_day(self, instant: int) -> int:
        """Return the first instant of the day after."""
        return self.resolve((self.day(instant) + 1) * DAY_MS)

    def week_start(self, instant: int) -> int:
        """Return the first instant of the week (Monday) that holds ``instant``."""
        return self.resolve(_monday(self.day(instant)) * DAY_MS)

    def next_week(self, instant: int) -> int:
        """Return the first instant of the week after."""
        return self.resolve((_monday(self.day(instant)) + 7) * DAY_MS)

    def month_start(self, instant: int) -> int:
        """Return the first instant of the month that holds ``instant``."""
        return self.resolve(_first_of_month(self.day(instant)) * DAY_MS)

    def next_month(self, instant: int) -> int:
        """Return the first instant of the month after."""
        first = _first_of_month(self.day(instant))
        return self.resolve(_first_of_month(first + 31) * DAY_MS)

    def days_between(self, start: int, now: int) -> int:
        """Return the whole calendar days from ``start`` to ``now``: full ones, by the same wall time.

        A day is full at the instant that ``add`` gives. Before ``start`` the number is negative:
        -1 until one day before, and so on.
        """
        wall = start + self.offset(start)
        days = (now + self.offset(now) - wall) // DAY_MS
        while self._days_after(start, wall, days + 1) <= now:
            days += 1
        while self._days_after(start, wall, days) > now:
            days -= 1
        return days

    def days_after(self, start: int, days: int) -> int:
        """Return the instant at which ``days_between(start, ...)`` reaches ``days``."""
        return self._days_after(start, start + self.offset(start), days)

    def _days_after(self, start: int, wall: int, days: int) -> int:
        return self.resolve(wall + days * DAY_MS) if days else start

    # -- the rules of the zone ------------------------------------------------------------------

    def _segment(self, instant: int) -> _Segment:
        last = self._last
        if last[0] <= instant < last[1]:
            return last
        number = min(max(instant >> _CHUNK_BITS, _FIRST_CHUNK), _LAST_CHUNK)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self._load(number)
        starts, segments = chunk
        last = segments[bisect_right(starts, instant) - 1] if len(starts) > 1 else segments[0]
        self._last = last
        return last

    def _load(self, number: int) -> tuple[list[int], list[_Segment]]:
        first, end = number << _CHUNK_BITS, (number + 1) << _CHUNK_BITS
        segments: list[_Segment] = []
        start, offset, at = first, self._look_up(first), first
        while at < end:
            probe = min(at + _PROBE_MS, end)
            if (then := self._look_up(probe)) != offset:
                change = self._change(at, probe, offset)
                segments.append((start, change, offset))
                start, offset = change, then
            at = probe
        segments.append((start, _FOREVER if number == _LAST_CHUNK else end, offset))
        if number == _FIRST_CHUNK:
            segments[0] = (-_FOREVER, *segments[0][1:])
        return [segment[0] for segment in segments], segments

    def _change(self, low: int, high: int, offset: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self._look_up(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def _look_up(self, instant: int) -> int:
        seconds = min(max(instant, _FIRST_DAY * DAY_MS), _LAST_DAY * DAY_MS) // 1000
        delta = datetime.fromtimestamp(seconds, UTC).astimezone(self._rules).utcoffset()
        assert delta is not None  # noqa: S101 - a ZoneInfo always knows
        return (delta.days * 86_400 + delta.seconds) * 1000


def weekday(day: int) -> Weekday:
    """Return the weekday of a day since 1970-01-01, which was a Thursday."""
    return WEEKDAYS[(day + 3) % 7]


def _monday(day: int) -> int:
    return day - (day + 3) % 7


def _first_of_month(day: int) -> int:
    known = min(max(day, _FIRST_DAY), _LAST_DAY)
    return known - date.fromordinal(known + _EPOCH_ORDINAL).day + 1


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return every IANA zone that the product knows, links included."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


@lru_cache(maxsize=1024)
def _shared(zone: str | None, default: str) -> Calendar:
    known = zone_names()
    if zone is None or zone not in known:
        zone = default if default in known else "UTC"
    return _of_zone(zone)


@lru_cache(maxsize=1024)
def _of_zone(zone: str) -> Calendar:
    return Calendar(zone)


def calendar_for(zone: object, default: str = "UTC") -> Calendar:
    """Return the shared calendar of ``zone``, or of ``default`` if there is no such zone."""
    return _shared(zone if isinstance(zone, str) else None, default)
