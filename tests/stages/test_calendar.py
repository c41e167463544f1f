"""Calendar arithmetic: every rule by example, where clocks do what authors forget."""

from datetime import UTC, datetime

import pytest

from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.stages.calendar import Calendar, calendar_for, weekday, zone_names

HOUR = 3_600_000
BERLIN = calendar_for("Europe/Berlin")
APIA = calendar_for("Pacific/Apia")


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def on_wall(calendar: Calendar, instant: int) -> str:
    return datetime.fromtimestamp((instant + calendar.offset(instant)) / 1000, UTC).isoformat()[:16]


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-03-28T09:00", "P1D", "2026-03-29T08:00"),  # 10:00 stays 10:00 over the change
        ("2026-03-28T09:00", "PT24H", "2026-03-29T09:00"),  # elapsed time does not
        ("2026-03-28T01:30", "P1D", "2026-03-29T01:00"),  # 02:30 is in the gap: 03:00
        ("2026-10-24T00:30", "P1D", "2026-10-25T00:30"),  # 02:30 is doubled: the first
        ("2026-10-25T01:30", "P1D", "2026-10-26T01:30"),  # from the second 02:30
        ("2026-10-25T01:30", "PT0S", "2026-10-25T01:30"),  # no days: the second stays the second
        ("2026-03-28T09:00", "P1DT2H", "2026-03-29T10:00"),  # days first, then hours
        ("2026-01-05T09:00", "P1W", "2026-01-12T09:00"),
    ],
)
def test_add(start, duration, end):
    assert BERLIN.add(utc(start), parse_duration(duration)) == utc(end)


def test_subtract_is_the_way_back():
    """First the elapsed part, then the days."""
    duration = parse_duration("P1DT2H")
    assert BERLIN.subtract(utc("2026-03-29T10:00"), duration) == utc("2026-03-28T09:00")
    assert BERLIN.subtract(utc("2026-03-29T10:00"), Duration(0, HOUR)) == utc("2026-03-29T09:00")


@pytest.mark.parametrize(
    ("at", "minutes", "weekdays", "found"),
    [
        ("2026-06-01T05:00", 8 * 60, "", "2026-06-01T06:00"),
        ("2026-06-01T06:00", 8 * 60, "", "2026-06-01T06:00"),  # at or after
        ("2026-06-01T06:01", 8 * 60, "", "2026-06-02T06:00"),
        ("2026-06-01T06:01", 8 * 60, "mon", "2026-06-08T06:00"),  # 1 June 2026 is a Monday
        ("2026-06-01T06:01", 8 * 60, "sat sun", "2026-06-06T06:00"),
        ("2026-03-28T23:30", 150, "", "2026-03-29T01:00"),  # 02:30 does not exist: 03:00
        ("2026-10-25T00:31", 150, "", "2026-10-26T01:30"),  # the second 02:30 is not the first
    ],
)
def test_next_time(at, minutes, weekdays, found):
    assert BERLIN.next_time(utc(at), minutes, frozenset(weekdays.split())) == utc(found)


def test_a_day_that_never_was():
    """Samoa went from Thursday 29 to Saturday 31 December 2011."""
    gap = utc("2011-12-30T10:00")
    assert on_wall(APIA, gap - 1) == "2011-12-29T23:59"
    assert on_wall(APIA, gap) == "2011-12-31T00:00"
    assert APIA.add(gap - HOUR, Duration(1)) == gap
    assert APIA.next_time(gap, 600, frozenset({"fri"})) == gap
    assert APIA.next_day(gap - 1) == gap
    assert APIA.day_start(gap) == gap


def test_clocks_that_go_back_over_midnight():
    """In St. John's 00:01 became 23:01 of the day before: that day had ended already."""
    calendar = calendar_for("America/St_Johns")
    change = utc("2010-11-07T02:31")
    assert on_wall(calendar, change - 1) == "2010-11-07T00:00"
    assert on_wall(calendar, change) == "2010-11-06T23:01"
    assert calendar.day(change) == calendar.day(change - 1)
    assert calendar.day_start(change) == change - 60_000
    assert calendar.next_day(change) == utc("2010-11-08T03:30")


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("day_start", "2026-03-28T23:00"),
        ("next_day", "2026-03-29T22:00"),
        ("week_start", "2026-03-22T23:00"),
        ("next_week", "2026-03-29T22:00"),
        ("month_start", "2026-02-28T23:00"),
        ("next_month", "2026-03-31T22:00"),
    ],
)
def test_days_weeks_and_months_begin_at_local_midnight(method, start):
    """Seen from noon of the Sunday on which Berlin's clocks go forward."""
    assert getattr(BERLIN, method)(utc("2026-03-29T10:00")) == utc(start)


def test_months_of_every_length():
    utc_calendar = calendar_for("UTC")
    for month, following in [
        ("2026-01", "2026-02"),
        ("2026-02", "2026-03"),
        ("2026-12", "2027-01"),
    ]:
        for day in ("01", "28"):
            assert utc_calendar.month_start(utc(f"{month}-{day}T12:00")) == utc(f"{month}-01T00:00")
            assert utc_calendar.next_month(utc(f"{month}-{day}T12:00")) == utc(
                f"{following}-01T00:00"
            )


@pytest.mark.parametrize(
    ("start", "now", "days"),
    [
        ("2026-03-28T09:00", "2026-03-29T07:59:59", 0),
        ("2026-03-28T09:00", "2026-03-29T08:00", 1),  # the same wall time, 23 h later
        ("2026-10-24T08:00", "2026-10-25T08:59:59", 0),
        ("2026-10-24T08:00", "2026-10-25T09:00", 1),  # 25 h later
        ("2026-03-28T01:30", "2026-03-29T01:00", 1),  # 02:30 is in the gap: full at 03:00
        ("2026-10-25T01:30", "2026-10-25T01:30", 0),  # the second 02:30
        ("2026-10-25T01:30", "2026-10-25T00:30", -1),  # the first, an hour before it
        ("2026-10-24T00:30", "2026-10-25T01:10", 1),  # 02:10 again, after the first 02:30
        ("2026-06-10T09:00", "2026-06-10T08:59", -1),
        ("2026-06-10T09:00", "2026-06-03T09:00", -7),
        ("2020-02-29T00:00", "2026-02-28T00:00", 2191),
    ],
)
def test_days_between_are_full_calendar_days(start, now, days):
    assert BERLIN.days_between(utc(start), utc(now)) == days


def test_a_date_gets_its_time():
    """Only 00:00 in the zone is a date without time."""
    midnight = utc("2026-06-30T22:00")
    assert BERLIN.date_at(midnight, 9 * 60) == utc("2026-07-01T07:00")
    assert BERLIN.date_at(midnight + 1, 9 * 60) == midnight + 1


def test_unknown_zones_fall_back():
    """A customer's zone is data: whatever it holds, there is a calendar."""
    assert calendar_for("Europe/Berlin", "Asia/Tokyo") is BERLIN
    for junk in (None, 7, "", "Europe/Atlantis", "../../etc/passwd", "europe/berlin"):
        assert calendar_for(junk, "Asia/Tokyo").zone == "Asia/Tokyo"
    assert calendar_for(None, "Mars/Olympus").zone == "UTC"
    assert {"UTC", "Europe/Berlin", "America/Argentina/Ushuaia"} <= zone_names()
    assert repr(BERLIN) == "Calendar('Europe/Berlin')"


@pytest.mark.parametrize("instant", [-(2**63), -(10**15), 0, 10**15, 2**63 - 1])
def test_no_instant_is_out_of_reach(instant):
    """Timestamps are data too: arithmetic neither raises nor hangs, whatever they are."""
    for calendar in (BERLIN, APIA):
        assert calendar.add(instant, Duration(1)) > instant
        assert calendar.subtract(instant, Duration(1)) < instant
        assert calendar.next_time(instant, 600) >= instant
        assert calendar.day_start(instant) <= instant < calendar.next_day(instant)
        assert calendar.days_between(instant, calendar.add(instant, Duration(3))) == 3
        calendar.month_start(instant)
        calendar.next_month(instant)


def test_weekdays():
    assert [weekday(day) for day in (-4, -3, 0, 4)] == ["sun", "mon", "thu", "mon"]
