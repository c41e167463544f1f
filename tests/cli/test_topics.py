"""``topics plan`` and ``topics apply`` against a real broker."""

from __future__ import annotations

import json

import pytest

from orchestrator import cli

pytestmark = pytest.mark.kafka


@pytest.fixture
def run(broker, prefix, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*args: str, **flags: str) -> tuple[int, str]:
        flags = {
            "dev": "true",
            "kafka.bootstrap.servers": broker.bootstrap,
            "topics.prefix": prefix,
            "topics.channels": "email",
            **flags,
        }
        assignments = [part for item in flags.items() for part in ("--set", "=".join(item))]
        code = cli.run([*assignments, "topics", *args])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_plan_shows_differences_apply_removes_them(run, prefix):
    code, text = run("plan")
    assert code == 1
    assert f"{prefix}.actions.email.v1" in text
    code, text = run("apply", "--output", "json")
    assert code == 0
    changes = json.loads(text)["changes"]
    assert {change["action"] for change in changes} == {"create"}
    assert run("plan") == (0, "The cluster is as it should be.\n")
    assert run("apply") == (0, "Nothing to do: the cluster is as it should be.\n")


def test_what_apply_cannot_change_is_a_finding(run):
    run("apply")
    code, text = run("apply", **{"topics.partitions": "6"})
    assert code == 1
    assert "has 4 partitions, not 6" in text


def test_a_broker_that_is_away_is_exit_code_3(run, monkeypatch):
    monkeypatch.setattr("orchestrator.kafka.cluster.ANSWER_S", 0.2)
    code, text = run("plan", **{"kafka.bootstrap.servers": "127.0.0.1:1"})
    assert code == 3
    assert "no answer from Kafka at 127.0.0.1:1" in text
