"""What counts as an instant."""

import pytest

from orchestrator.stages.calendar import calendar_for
from orchestrator.stages.timestamps import parse_date, to_instant

BERLIN = calendar_for("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (1_700_000_000_123, 1_700_000_000_123),
        ("2026-06-01T10:00:00Z", 1_780_308_000_000),
        ("2026-06-01T12:00:00.5+02:00", 1_780_308_000_500),
        ("2026-06-01", 1_780_264_800_000),  # 00:00 in Berlin
        ("2026-06-01T10:00:00", None),  # no offset: nobody knows where
        ("2026-02-30", None),
        ("tomorrow", None),
        (True, None),
        (1.5, None),
        (None, None),
    ],
)
def test_to_instant(value, instant):
    assert to_instant(value, BERLIN) == instant


def test_parse_date():
    assert parse_date("1970-01-02") == 1
    assert parse_date("1970-1-2") is None
    assert parse_date("2026-13-01") is None
