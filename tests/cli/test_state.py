"""`state`: words that are off are refused before Kafka is asked."""

from __future__ import annotations

import pytest

from orchestrator import cli


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("reset", "--stage", "decide"), "name the --partition, or give --all"),
        (("reset", "--stage", "decide", "--partition", "1", "--all"), "or give --all"),
        (("reset", "--stage", "decide", "--partition", "64"), "partitions 0 to"),
        (("reset", "--stage", "decide", "--all", "--local", "--from", "."), "needs no --from"),
        (("reset", "--all"), "--stage"),
        (("check", "--partition", "64"), "partitions 0 to"),
        (("skip", "orders", "0", "0", "--reason", "x"), "no input of a stage; those are"),
        (("skip", "journey.timeline.v1", "64", "0", "--reason", "x"), "no partition 64"),
        (("skip", "journey.timeline.v1", "0", "0", "--reason", " "), "say why"),
        (("skip", "journey.timeline.v1", "0", "0"), "--reason"),
        (("skip", "journey.timeline.v1", "0", "0", "--timer", "u", "--reason", "x"), "together"),
    ],
)
def test_words_that_are_off(capsys, words, says):
    given = [
        "--set",
        "kafka.bootstrap.servers=127.0.0.1:1",
        "--set",
        "registry.url=http://127.0.0.1:1",
    ]
    assert cli.run([*given, "state", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_local_reset_needs_no_broker(capsys, tmp_path):
    """Only what it names goes, and only with --yes; a copy that is open is left alone."""
    from orchestrator.engine.ports import TaskId
    from orchestrator.engine.store import Stores

    for stage, number in (("decide", 0), ("decide", 1), ("identify", 0)):
        Stores(tmp_path / "slot-0").open(TaskId(stage, number)).close()
    given = ["--set", "kafka.bootstrap.servers=127.0.0.1:1"]
    words = ["state", "reset", "--stage", "decide", "--partition", "0", "--local"]
    words += ["--data-dir", str(tmp_path)]
    left = lambda: sorted(path.name for path in (tmp_path / "slot-0").iterdir())  # noqa: E731
    assert cli.run([*given, *words]) == 0
    assert left() == ["decide-0", "decide-1", "identify-0"]
    assert cli.run([*given, *words, "--yes"]) == 0
    assert left() == ["decide-1", "identify-0"]
    assert "removed" in capsys.readouterr().out
