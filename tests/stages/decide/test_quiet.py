"""Quiet hours: half-open, over midnight, over clock changes, on the days of their start."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.stages.calendar import calendar_for, weekday
from orchestrator.stages.catalog import Policy, QuietHours
from orchestrator.stages.decide.quiet import current, next_start, release

BERLIN = calendar_for("Europe/Berlin")
NIGHT = QuietHours(name="night", start=22 * 60, end=8 * 60)
NOON = QuietHours(name="noon", start=12 * 60, end=13 * 60)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def policy(*rules: QuietHours) -> Policy:
    return Policy(quiet_hours=rules)


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
    found = current(policy(NIGHT, NOON), BERLIN, "email", utc(at))
    assert (found and found.end) == (end and utc(end))


def test_days_name_the_day_of_the_start():
    """Friday's night reaches into Saturday morning; Saturday's own does not exist."""
    friday = policy(QuietHours(name="fri", start=22 * 60, end=8 * 60, days=frozenset({"fri"})))
    inside = current(friday, BERLIN, "email", utc("2026-06-06T05:00"))
    assert inside == (utc("2026-06-05T20:00"), utc("2026-06-06T06:00"), "fri")
    assert current(friday, BERLIN, "email", utc("2026-06-05T05:00")) is None
    assert current(friday, BERLIN, "email", utc("2026-06-06T21:00")) is None
    begin = next_start(friday, BERLIN, "email", utc("2026-06-05T20:00"))
    assert begin == utc("2026-06-12T20:00")


def test_a_window_in_a_clock_gap_is_none():
    """02:15 to 02:45 does not happen on the day when 02:00 becomes 03:00."""
    gap = policy(QuietHours(name="gap", start=135, end=165))
    assert current(gap, BERLIN, "email", utc("2026-03-29T01:00")) is None
    begin = next_start(gap, BERLIN, "email", utc("2026-03-28T01:15"))
    assert begin == utc("2026-03-30T00:15")


def test_windows_that_follow_one_another_are_one():
    evening = QuietHours(name="evening", start=20 * 60, end=22 * 60)
    found = current(policy(evening, NIGHT), BERLIN, "email", utc("2026-06-01T18:30"))
    assert found == (utc("2026-06-01T18:00"), utc("2026-06-02T06:00"), "evening")


def test_rules_of_other_channels_do_not_count():
    push = QuietHours(name="push", start=0, end=1439, channels=frozenset({"push"}))
    assert current(policy(push), BERLIN, "email", utc("2026-06-01T12:00")) is None
    assert current(policy(push), BERLIN, "push", utc("2026-06-01T12:00")) is not None
    assert next_start(policy(push), BERLIN, "email", 0) is None


@given(
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo"]),
    st.integers(utc("2024-01-01T00:00"), utc("2027-01-01T00:00")),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.frozensets(st.sampled_from(["mon", "tue", "fri", "sun"])),
    st.text(max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_begin_end_and_release_agree(zone, instant, start, end, days, customer):
    """Inside until the end and from the next begin on; outside between; a release falls between."""
    calendar = calendar_for(zone)
    rules = policy(QuietHours(name="r", start=start, end=end, days=days))

    def quiet(at: int) -> bool:
        return current(rules, calendar, "email", at) is not None

    window = current(rules, calendar, "email", instant)
    if window is not None and start == end and not days:
        return
    free = instant if window is None else window.end
    if window is not None:
        assert window.start <= instant < window.end
        assert quiet(free - 1)
    assert not quiet(free)
    begin = next_start(rules, calendar, "email", free)
    assert begin is not None
    assert begin > free
    assert quiet(begin)
    assert not quiet(begin - 1)
    assert not quiet((free + begin) // 2)
    assert not days or weekday(calendar.day(begin)) in days
    released = release(rules, calendar, "email", customer, free, free + 1000)
    assert free <= released < min(begin, free + 1000)
