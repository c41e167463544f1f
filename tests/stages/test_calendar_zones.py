"""The laws of the calendar, in all IANA zones, at every clock change from 2020 to 2035.

The oracle is ``zoneinfo`` over the same rules, asked in its own way: by search, not by tables.
"""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expressions.durations import Duration
from orchestrator.stages.calendar import DAY_MS, Calendar, calendar_for, zone_names

MINUTE = 60_000
HOUR = 60 * MINUTE
FROM = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1000
TO = int(datetime(2036, 1, 1, tzinfo=UTC).timestamp()) * 1000


def rules_of(zone: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()


def distinct_zones() -> list[str]:
    """One zone for each set of rules: links and twins add nothing."""
    return sorted({rules_of(zone): zone for zone in sorted(zone_names())}.values())


ZONES = distinct_zones()


class Oracle:
    """``zoneinfo``, asked for one instant at a time."""

    def __init__(self, zone: str) -> None:
        with files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as data:
            self.rules = ZoneInfo.from_file(data)

    def offset(self, instant: int) -> int:
        delta = datetime.fromtimestamp(instant / 1000, self.rules).utcoffset()
        return delta // timedelta(milliseconds=1)

    def resolve(self, wall: int) -> int:
        """First instant that shows ``wall``; else the first one that shows something later."""
        offsets = {self.offset(wall + hours * HOUR) for hours in range(-27, 28)}
        shown = [wall - x for x in offsets if self.offset(wall - x) == x]
        if shown:
            return min(shown)
        low, high = wall - 27 * HOUR, wall + 27 * HOUR
        while high - low > 1:
            middle = (low + high) // 2
            if middle + self.offset(middle) > wall:
                high = middle
            else:
                low = middle
        return high


def changes(calendar: Calendar) -> list[int]:
    found, at = [], FROM
    while at < TO:
        _, end, offset = calendar._segment(at)
        if calendar.offset(end) != offset:
            found.append(end)
        at = end
    return found


def test_there_is_something_to_test():
    assert len(ZONES) > 300
    assert sum(len(changes(calendar_for(zone))) for zone in ZONES) > 3_000


def test_offsets_are_those_of_zoneinfo():
    """Every zone, every sixth day at another time of day: no change is missed, none invented."""
    step = 6 * DAY_MS + 37 * MINUTE
    for zone in ZONES:
        calendar, oracle = calendar_for(zone), Oracle(zone)
        for instant in range(FROM, TO, step):
            assert calendar.offset(instant) == oracle.offset(instant), (zone, instant)


def test_changes_are_exact_to_the_millisecond():
    for zone in ZONES:
        calendar, oracle = calendar_for(zone), Oracle(zone)
        for change in changes(calendar):
            for instant in (change - 1, change):
                assert calendar.offset(instant) == oracle.offset(instant), (zone, instant)


def test_wall_times_around_every_change():
    """A gap gives the first instant after it, a doubled time its first occurrence."""
    for zone in ZONES:
        calendar, oracle = calendar_for(zone), Oracle(zone)
        for change in changes(calendar):
            wall = change + calendar.offset(change)
            for minutes in (-60, -30, -1, 0, 29, 59, 60):
                local = wall + minutes * MINUTE
                assert calendar.resolve(local) == oracle.resolve(local), (zone, local)


def test_days_around_every_change():
    """Days follow one another without gap or overlap, and a day later is the same wall time."""
    for zone in ZONES:
        calendar, oracle = calendar_for(zone), Oracle(zone)
        for change in changes(calendar):
            for instant in (change - 26 * HOUR, change - HOUR, change - 1, change, change + HOUR):
                start, following = calendar.day_start(instant), calendar.next_day(instant)
                assert start <= instant < following, (zone, instant)
                assert calendar.next_day(start) == following, (zone, instant)
                assert calendar.day_start(following) == following, (zone, instant)
                assert calendar.week_start(instant) <= start
                assert calendar.next_week(instant) >= following
                later = calendar.add(instant, Duration(1))
                assert later == oracle.resolve(instant + oracle.offset(instant) + DAY_MS)
                assert calendar.days_between(instant, later) == 1, (zone, instant)
                assert calendar.days_between(instant, later - 1) == 0, (zone, instant)


@given(
    st.sampled_from(ZONES),
    st.integers(FROM, TO),
    st.integers(0, 1439),
    st.frozensets(st.sampled_from(["mon", "wed", "sat", "sun"])),
)
@settings(max_examples=300, deadline=None)
def test_next_time_is_the_first(zone, instant, minutes, weekdays):
    """At or after; nothing between; and one millisecond later it is another."""
    calendar = calendar_for(zone)
    found = calendar.next_time(instant, minutes, weekdays)
    assert found >= instant
    assert calendar.next_time(found, minutes, weekdays) == found
    assert calendar.next_time((instant + found) // 2, minutes, weekdays) == found
    assert calendar.next_time(found + 1, minutes, weekdays) > found


@given(st.sampled_from(ZONES), st.integers(FROM, TO), st.integers(FROM, TO))
@settings(max_examples=300, deadline=None)
def test_days_between_counts_what_days_after_gives(zone, start, now):
    calendar = calendar_for(zone)
    days = calendar.days_between(start, now)
    assert calendar.days_after(start, days) <= now < calendar.days_after(start, days + 1)


@given(st.sampled_from(ZONES), st.integers(FROM, TO), st.integers(0, 1000), st.integers(0, 10**9))
@settings(max_examples=300, deadline=None)
def test_add_never_goes_back(zone, start, days, milliseconds):
    """Later stays later, or becomes equal; more stays more: nothing overtakes by adding days."""
    calendar = calendar_for(zone)
    duration = Duration(days, milliseconds)
    ends = [calendar.add(start, Duration(n, milliseconds)) for n in (days, days + 1, days + 2)]
    assert all(one <= two for one, two in pairwise(ends))
    assert calendar.add(start, duration) >= start


@pytest.mark.parametrize("zone", ["Africa/Casablanca", "Antarctica/Troll", "Australia/Lord_Howe"])
def test_the_odd_ones_are_among_them(zone):
    """Two changes around Ramadan, a change of two hours, a change of half an hour."""
    assert len(changes(calendar_for(zone))) >= 12
