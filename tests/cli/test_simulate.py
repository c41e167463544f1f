"""``simulate``: a workspace over a file of events, with nothing but Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import OK, USAGE, run

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"


def line(type_, at, who="anna", **properties):
    return json.dumps(
        {
            "type": type_,
            "occurred_at": at,
            "identities": {"account_id": who},
            "properties": properties,
        }
    )


@pytest.fixture
def events(tmp_path):
    file = tmp_path / "events.ndjson"
    anna = {"name": "Anna", "email": "a@example.com", "country": "DE"}
    file.write_text(
        "\n".join(
            [
                line("customer.updated", "2026-03-02T08:00:00Z", **anna),
                line(
                    "consent.granted", "2026-03-02T08:00:00Z", channel="email", category="education"
                ),
                line("trial.started", "2026-03-02T09:00:00Z"),
                line("trial.started", "2026-03-02T09:00:00Z", "bob"),
                "no event",
            ]
        )
    )
    return file


def test_what_came_of_it(events, tmp_path, capsys):
    decisions = tmp_path / "decisions.ndjson"
    args = ["simulate", str(EXAMPLE), "--events", str(events), "--until", "2026-03-05T00:00:00Z"]
    assert run([*args, "--decisions", str(decisions), "--output", "json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["customers"]) == (4, 2)
    assert told["entries"] == {"trial-to-paid": 1}
    assert told["refused"] == {"not_eligible": 1}
    assert told["actions"] == {"email": 2}
    assert told["dead_letters"] == {"bad_line": 1}
    outcomes = [json.loads(one)["outcome"] for one in decisions.read_text().splitlines()]
    assert outcomes.count("sent") == 2
    assert run(args) == OK
    assert "4 events of 2 customers" in capsys.readouterr().out


def test_time_runs_on_only_as_far_as_it_is_told(events, capsys):
    assert run(["simulate", str(EXAMPLE), "--events", str(events), "--output", "json"]) == OK
    assert json.loads(capsys.readouterr().out)["actions"] == {"email": 1}


def test_a_file_that_is_not_sorted_is_refused(tmp_path, capsys):
    file = tmp_path / "events.ndjson"
    file.write_text(line("a.b", 2) + "\n" + line("a.b", 1) + "\n")
    assert run(["simulate", str(EXAMPLE), "--events", str(file)]) == USAGE
    assert "sort the file by occurred_at" in capsys.readouterr().err
