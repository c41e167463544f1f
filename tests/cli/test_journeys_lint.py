"""``journeys lint``: findings for people and for programs, and exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator import cli

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"


@pytest.fixture
def workspace(tmp_path) -> Path:
    """A copy of the shipped example, to be edited."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "workspace"))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")


def test_without_findings(workspace, capsys):
    """Exit code 0."""
    assert cli.run(["journeys", "lint", str(workspace)]) == 0
    assert capsys.readouterr().out == "No findings.\n"


def test_errors(workspace, capsys):
    """Exit code 1; each with file, line, column, number, name and remedy, in file order."""
    edit(workspace, "policy.yaml", "Europe/Berlin", "Europe/Berlim")
    edit(workspace, "journeys/trial-to-paid.yaml", "trial.started", "trial.startd")
    assert cli.run(["journeys", "lint", str(workspace)]) == cli.FINDINGS
    policy, journey, summary = capsys.readouterr().out.splitlines()
    assert policy == (
        f"{workspace}/policy.yaml:5:11: J008 unknown-timezone: 'Europe/Berlim' is no IANA time "
        "zone; did you mean Europe/Berlin?"
    )
    assert "journeys/trial-to-paid.yaml:7:13: J011 unknown-event" in journey
    assert summary == "2 errors."


def test_warnings_alone_pass(workspace, capsys):
    """Exit code 0, and they are said."""
    edit(workspace, "policy.yaml", 'from: "21:00"', "from: 21:00")
    assert cli.run(["journeys", "lint", str(workspace)]) == 0
    assert "J050 quote-time" in capsys.readouterr().out


def test_json(workspace, capsys):
    """One document for programs."""
    edit(workspace, "policy.yaml", "Europe/Berlin", "Europe/Berlim")
    assert cli.run(["journeys", "lint", str(workspace), "--output", "json"]) == cli.FINDINGS
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["errors"], document["warnings"]) == (False, 1, 0)
    assert document["diagnostics"] == [
        {
            "file": f"{workspace}/policy.yaml",
            "line": 5,
            "column": 11,
            "number": "J008",
            "name": "unknown-timezone",
            "severity": "error",
            "text": "'Europe/Berlim' is no IANA time zone",
            "remedy": "did you mean Europe/Berlin?",
        }
    ]


def test_no_such_folder(tmp_path, capsys):
    """Exit code 2: the caller's words are off."""
    assert cli.run(["journeys", "lint", str(tmp_path / "nowhere")]) == cli.USAGE
    assert "is no folder" in capsys.readouterr().err


def test_overlay(workspace, tmp_path):
    """A file of a later folder replaces the one of the same name."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "policy.yaml").write_text("timezone: Nowhere\n", encoding="utf-8")
    assert cli.run(["journeys", "lint", str(workspace), str(overlay)]) == cli.FINDINGS
