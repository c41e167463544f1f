"""Quiet hours: half-open, over midnight, over clock changes, on the days of their start."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.stages.calendar import calendar_for, weekday
from orchestrator.stages.catalog import QuietHours
from orchestrator.stages.quiet_hours import blocking, next_begin, quiet_end, window

BERLIN = calendar_for("Europe/Berlin")
MINUTE = 60_000
NIGHT = QuietHours(name="night", start=22 * 60, end=8 * 60)
NOON = QuietHours(name="noon", start=12 * 60, end=13 * 60)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-06-01T19:59:59.999", None),
        ("2026-06-01T20:00", "2026-06-02T06:00"),  # the begin is inside
        ("2026-06-02T05:59:59.999", "2026-06-02T06:00"),
        ("2026-06-02T06:00", None),  # the end is outside
        ("2026-06-02T10:30", "2026-06-02T11:00"),
    ],
)
def test_windows_are_half_open(at, end):
    found = blocking((NIGHT, NOON), BERLIN, utc(at))
    assert (found and found[1]) == (end and utc(end))


def test_days_name_the_day_of_the_start():
    """Friday's night reaches into Saturday morning; Saturday's own does not exist."""
    friday = QuietHours(name="fri", start=22 * 60, end=8 * 60, days=frozenset({"fri"}))
    assert blocking((friday,), BERLIN, utc("2026-06-06T05:00")) == (friday, utc("2026-06-06T06:00"))
    assert blocking((friday,), BERLIN, utc("2026-06-05T05:00")) is None
    assert blocking((friday,), BERLIN, utc("2026-06-06T21:00")) is None
    assert next_begin((friday,), BERLIN, utc("2026-06-05T20:00")) == utc("2026-06-12T20:00")


def test_a_window_in_a_clock_gap_is_none():
    """02:15 to 02:45 does not happen on the day when 02:00 becomes 03:00."""
    rule = QuietHours(name="gap", start=135, end=165)
    day = BERLIN.day(utc("2026-03-29T12:00"))
    assert window(rule, BERLIN, day) is None
    assert window(rule, BERLIN, day - 1) is not None
    assert next_begin((rule,), BERLIN, utc("2026-03-28T01:15")) == utc("2026-03-30T00:15")


def test_the_end_looks_through_windows_that_follow_one_another():
    evening = QuietHours(name="evening", start=20 * 60, end=22 * 60)
    end = quiet_end((evening, NIGHT), BERLIN, utc("2026-06-01T18:30"))
    assert end == utc("2026-06-02T06:00")
    assert quiet_end((evening, NIGHT), BERLIN, utc("2026-06-01T12:00")) == utc("2026-06-01T12:00")


def test_rules_that_leave_no_room_never_end():
    """From equal to to is a whole day."""
    always = QuietHours(name="always", start=0, end=0)
    assert quiet_end((always,), BERLIN, utc("2026-06-01T12:00")) is None
    sunday = QuietHours(name="sunday", start=0, end=0, days=frozenset({"sun"}))
    assert quiet_end((sunday,), BERLIN, utc("2026-06-07T12:00")) == utc("2026-06-07T22:00")


def test_no_rules():
    assert blocking((), BERLIN, 0) is None
    assert next_begin((), BERLIN, 0) is None
    assert quiet_end((), BERLIN, 0) == 0


@given(
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo"]),
    st.integers(utc("2024-01-01T00:00"), utc("2027-01-01T00:00")),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.frozensets(st.sampled_from(["mon", "tue", "fri", "sun"])),
)
@settings(max_examples=300, deadline=None)
def test_begin_and_end_agree(zone, instant, start, end, days):
    """Inside until the end and from the next begin on; outside between."""
    calendar = calendar_for(zone)
    rule = QuietHours(name="r", start=start, end=end, days=days)
    free = quiet_end((rule,), calendar, instant)
    if free is None:
        assert start == end
        return
    assert blocking((rule,), calendar, free) is None
    if free > instant:
        assert blocking((rule,), calendar, free - 1) is not None
    begin = next_begin((rule,), calendar, free)
    assert begin is not None
    assert blocking((rule,), calendar, begin) is not None
    assert blocking((rule,), calendar, begin - 1) is None
    assert blocking((rule,), calendar, (free + begin) // 2) is None
    assert not days or weekday(calendar.day(begin)) in days
