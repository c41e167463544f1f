"""Decisions in words: what a person reads must need no calculator."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator.explain import because, sentence
from orchestrator.records import Decision


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def decision(reason, rule, values, **more):
    return Decision(
        decision_id="d", customer_id="c", outcome="deferred", reason=reason, rule=rule,
        rule_values=values, caused_by="e", decided_at=0, catalog="k", **more,
    )  # fmt: skip


NIGHT = {"from": at("2026-03-02T20:00+00:00"), "to": at("2026-03-03T07:00+00:00")}


@pytest.mark.parametrize(
    ("one", "zone", "said"),
    [
        (
            decision("quiet_hours", "night", NIGHT),
            UTC,
            (
                "it is quiet hours for this customer, rule night"
                " (from: Mon 2026-03-02 20:00:00, to: Tue 2026-03-03 07:00:00)"
            ),
        ),
        (
            decision("quiet_hours", "night", NIGHT),
            ZoneInfo("Europe/Berlin"),
            (
                "it is quiet hours for this customer, rule night"
                " (from: Mon 2026-03-02 21:00:00, to: Tue 2026-03-03 08:00:00)"
            ),
        ),
        (
            decision("gap", "any", {"last": NIGHT["from"], "gap_ms": 5_400_000}),
            UTC,
            (
                "the last message is too recent (gap), rule any"
                " (gap: 1 h 30 min, last: Mon 2026-03-02 20:00:00)"
            ),
        ),
        (
            decision("gap", "any", {"gap_ms": 86_400_000}),
            UTC,
            "the last message is too recent (gap), rule any (gap: 24 h)",
        ),
        (
            decision("cap", "week", {"used": 3, "limit": 3}),
            UTC,
            "the frequency cap is used up, rule week (limit: 3, used: 3)",
        ),
        (
            decision("interrupted", "pricing.viewed", {"to": "sales", "skipped": ""}),
            UTC,
            "an interrupt took the entry elsewhere, rule pricing.viewed (to: sales)",
        ),
        (decision(None, None, {}), UTC, ""),
    ],
)
def test_values_are_told_as_times_and_spans(one, zone, said):
    assert because(one, zone) == said


def test_a_sentence_is_told_in_one_zone():
    """When it can be sent next, and the hours that hold it back, by the same clock."""
    held = decision("quiet_hours", "night", NIGHT, message="hi", channel="email", until=NIGHT["to"])
    assert sentence(held, ZoneInfo("Europe/Berlin")) == (
        "hi: deferred on email until Tue 2026-03-03 08:00:00; it is quiet hours for this customer,"
        " rule night (from: Mon 2026-03-02 21:00:00, to: Tue 2026-03-03 08:00:00)"
    )
