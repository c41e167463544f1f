"""``settings show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator import cli
from orchestrator.settings import load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_it_shows_are_the_layers_merged(monkeypatch, capsys):
    Path("mine.yaml").write_text("worker: {slot: 1}\nlog: {level: debug}\n", encoding="utf-8")
    monkeypatch.setenv("ORCHESTRATOR_WORKER__SLOT", "2")
    args = ["--settings", "mine.yaml", "--set", "clock.mode=log", "settings", "show"]
    assert cli.run(args) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["worker"]["slot"] == 2
    assert shown["log"]["level"] == "debug"
    assert shown["topics"]["prefix"] == "journey-log"
    assert cli.run([*args, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_it_shows_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("ORCHESTRATOR_KAFKA__SASL_PASSWORD", "PLAINTEXT")
    assert cli.run(["settings", "show"]) == 0
    out = capsys.readouterr().out
    assert "PLAINTEXT" not in out
    assert "sasl.password: '***'" in out


def test_without_secrets_what_it_shows_is_a_settings_file(capsys):
    """The output can be saved and used."""
    assert cli.run(["--set", "deliver={email: {sender: smtp}}", "settings", "show"]) == 0
    Path("orchestrator.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_settings(env={}).deliver["email"].host == "127.0.0.1"


def test_an_unknown_key_is_exit_code_2(capsys):
    assert cli.run(["--set", "worker.slto=1", "settings", "show"]) == 2
    assert "did you mean slot?" in capsys.readouterr().err
