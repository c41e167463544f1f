"""deploy/README.md: every command exists with its flags, and the table of retention is the topology's."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from orchestrator.cli import root
from orchestrator.kafka.topics import DAY_MS, Topology
from orchestrator.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "README.md").read_text()
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", TEXT)]
COMMANDS = sorted({span for span in SPANS if span.startswith("orchestrator ")})


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line: str):
    """Walks the command line's own groups; what is left are flags and arguments in capitals."""
    command: click.Command = root
    words = line.split()[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command, obj=None), words[0])
        assert found is not None, f"no such command: {line}"
        command = found
        words = words[1:]
    flags = {flag for param in command.params for flag in param.opts}
    for word in words:
        if word.startswith("-"):
            assert word in flags, f"{line}: no flag {word}"
    positional = [word for word in words if word.isupper() or ":" in word]
    assert not positional or command.params, line


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 15


def test_every_file_of_the_table_is_there():
    for name in re.findall(r"^\| `([^`]+)`.*\|", TEXT.partition("## Beside")[0], re.MULTILINE):
        for part in name.split(", "):
            assert (DEPLOY / part).exists(), part


def test_retention_is_the_topologys():
    """What the table promises is what `topics apply` sets."""
    section = TEXT.partition("## How long things are kept")[2]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+?) \|", section, re.MULTILINE))
    specs = Topology(load_settings(env={}, flags={"topics.channels": ["email"]})).specs()
    assert rows.keys() == {spec.logical for spec in specs}
    for spec in specs:
        kept = rows[spec.logical]
        if retention := spec.config.get("retention.ms"):
            assert kept.startswith(f"{int(retention) // DAY_MS} d"), spec.logical
            assert ("compacted" in kept) == ("compact" in spec.config["cleanup.policy"])
        else:
            assert spec.config["cleanup.policy"] == "compact"
            assert not re.search(r"\d+ d", kept), spec.logical
