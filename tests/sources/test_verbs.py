"""The verbs ``load`` and ``collect`` as an operator runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from orchestrator import cli
from orchestrator.kafka.topics import Topology
from orchestrator.settings import Settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> Path:
    """A settings file for the deployment."""
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "dev": True,
                "kafka": {"bootstrap.servers": settings.kafka["bootstrap.servers"]},
                "registry": {"url": settings.registry.url},
                "topics": {"prefix": settings.topics.prefix},
                "worker": {"data_dir": settings.worker.data_dir},
                "collector": {"port": 0},
            }
        )
    )
    Topology(settings).apply()
    return path


def test_load(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON result; exit code 1 for dead letters, 2 for a finished file, 3 without a catalog."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "profile.yaml").write_text("identities: {primary: id}\n")
    (workspace / "policy.yaml").write_text("timezone: UTC\n")
    events = tmp_path / "events.ndjson"
    events.write_text('{"type":"a.happened","occurred_at":1,"identities":{"id":"1"}}\n{bad\n')
    command = ["--settings", str(file), "load", str(events), "--source", "s"]
    assert cli.run(command) == 3
    assert "journeys apply" in capsys.readouterr().err
    command += ["--workspace", str(workspace), "--output", "json"]
    assert cli.run(command) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {"files": 1, "accepted": 1, "refused": 1, "tick_at": None}
    assert cli.run(command) == 2
    assert "--again" in capsys.readouterr().err
    assert cli.run([*command, "--until", "2020-01-01T00:00:00Z"]) == 2


def test_collect_stops_on_sigterm(file: Path) -> None:
    """It listens, answers, and ends with 0."""
    command = [sys.executable, "-m", "orchestrator", "--settings", str(file)]
    command += ["--set", "log.format=json", "collect", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            port = next(
                said["port"]
                for said in map(json.loads, running.stderr)
                if said["event"] == "collecting"
            )
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert answer.status == 200
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0
        finally:
            running.kill()
