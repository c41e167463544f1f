"""`customer forget` before it speaks to Kafka: what it refuses, and how it reckons days."""

from __future__ import annotations

import pytest

from orchestrator.cli import USAGE, run
from orchestrator.cli.customer._retention import gone_by

DAY = 86_400_000


@pytest.mark.parametrize(
    ("config", "days"),
    [
        ({"cleanup.policy": "delete", "retention.ms": 7 * DAY, "segment.ms": 7 * DAY}, 14),
        ({"cleanup.policy": "compact,delete", "retention.ms": 14 * DAY, "segment.ms": DAY}, 15),
        ({"cleanup.policy": "delete", "retention.ms": -1, "segment.ms": DAY}, None),
        (
            {
                "cleanup.policy": "compact",
                "max.compaction.lag.ms": 7 * DAY,
                "delete.retention.ms": 7 * DAY,
            },
            21,
        ),
        (
            {
                "cleanup.policy": "compact",
                "max.compaction.lag.ms": 2**63 - 1,
                "delete.retention.ms": DAY,
            },
            None,
        ),
    ],
)
def test_the_day_is_the_worst_that_the_topics_settings_allow(config, days):
    """Segments go whole; a deletion outlives what it deletes; without a limit there is no day."""
    texts = {key: str(value) for key, value in config.items()}
    assert gone_by(texts, 5) == (None if days is None else 5 + days * DAY)


def test_on_the_log_clock_there_is_nobody_to_forget(capsys, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_CLOCK__MODE", "log")
    assert run(["customer", "forget", "anna"]) == USAGE
    assert "delete its topics" in capsys.readouterr().err


def test_help_says_what_goes_and_what_stays(capsys):
    assert run(["customer", "forget", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "salted hash" in told
    assert "Example: orchestrator customer forget email:anna@example.com --yes" in told
