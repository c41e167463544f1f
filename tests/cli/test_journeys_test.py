"""``journeys test``: exit 1 on failures, and a failure that explains itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.cli import FINDINGS, OK, USAGE, run

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"


@pytest.fixture
def workspace(tmp_path):
    """A copy of the example that a test may break."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example"))


def test_the_example_passes(capsys):
    assert run(["journeys", "test", str(EXAMPLE)]) == OK
    assert "14 passed in" in capsys.readouterr().out


def test_a_failure_shows_what_came_instead_and_the_timeline_around_it(workspace, capsys):
    story = workspace / "tests" / "seed-story.yaml"
    story.write_text(story.read_text().replace("channel: inapp, at:", "channel: push, at:", 1))
    assert run(["journeys", "test", str(workspace)]) == FINDINGS
    told = capsys.readouterr().out
    assert "FAILED  opened but not clicked, then pricing." in told
    assert "seed-story.yaml:24:11: expected sent why-acme" in told
    assert "instead: sent why-acme by inapp (step in-app of trial-to-paid)" in told
    assert "> pricing.viewed {plan: team}" in told
    assert "Wed 2026-03-04 10:00:00" in told
    assert "1 failed, 13 passed" in told


def test_for_programs(workspace, capsys):
    twins = workspace / "tests" / "twins.yaml"
    twins.write_text(twins.read_text().replace("reason: no_consent}", "reason: cap}", 1))
    assert run(["journeys", "test", str(workspace), "--output", "json"]) == FINDINGS
    told = json.loads(capsys.readouterr().out)
    assert (told["tests"], told["failed"]) == (14, 1)
    (failure,) = [one["failure"] for one in told["results"] if not one["passed"]]
    assert "no_consent" in failure["problem"]
    assert failure["timeline"]


def test_without_tests_there_is_nothing_to_pass(workspace, capsys):
    shutil.rmtree(workspace / "tests")
    assert run(["journeys", "test", str(workspace)]) == USAGE
    assert "no tests; write the first one" in capsys.readouterr().err


def test_a_slip_in_a_test_is_a_finding_with_its_place(workspace, capsys):
    twins = workspace / "tests" / "twins.yaml"
    twins.write_text(twins.read_text().replace("sent: why-acme", "sent: why-acne", 1))
    assert run(["journeys", "test", str(workspace)]) != OK
    assert "unknown-message: 'why-acne'" in capsys.readouterr().err
