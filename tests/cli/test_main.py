"""The command line's frame: lazy verbs, exit codes, words for people and JSON for programs."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from orchestrator import cli
from orchestrator.errors import (
    BrokerUnavailable,
    CouldNotRun,
    FencedError,
    SettingsError,
    StalledError,
    TopologyError,
    UsageError,
    WorkspaceError,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def verb(monkeypatch):
    """Add a verb ``probe`` that does what the test says."""

    def add(function) -> None:
        command = click.command("probe")(cli.output_option(click.pass_obj(function)))
        known = cli.root.get_command
        monkeypatch.setattr(
            cli.root,
            "get_command",
            lambda context, name: command if name == "probe" else known(context, name),
        )

    return add


def raising(error: BaseException):
    def fail(_) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (SettingsError("x"), 2),
        (WorkspaceError(["a.yaml:1:1: x"]), 2),
        (click.UsageError("x"), 2),
        (click.FileError("x"), 2),
        (CouldNotRun("x"), 3),
        (BrokerUnavailable("x"), 3),
        (FencedError("x"), 3),
        (TopologyError("x"), 70),
        (StalledError("x"), 70),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_the_kind_of_error_is_the_exit_code(verb, error, code):
    verb(raising(error))
    assert cli.run(["probe"]) == code


def test_a_bug_is_not_taken_for_findings(verb, capsys):
    """Python's own exit code for a traceback is 1, which here means findings."""
    verb(raising(RuntimeError("surprise")))
    assert cli.run(["probe"]) == 70
    assert "RuntimeError: surprise" in capsys.readouterr().err


def test_findings_are_exit_code_1(verb):
    verb(lambda _: click.get_current_context().exit(cli.FINDINGS))
    assert cli.run(["probe"]) == 1


def test_success_is_0(verb):
    verb(lambda _: None)
    assert cli.run(["probe"]) == 0


def test_errors_are_words_on_stderr_or_json_on_stderr(verb, capsys):
    verb(raising(CouldNotRun("the disk is full")))
    cli.run(["probe"])
    assert capsys.readouterr() == ("", "orchestrator: the disk is full\n")
    cli.run(["probe", "--output", "json"])
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {"error": {"type": "CouldNotRun", "message": "the disk is full"}}


def test_a_result_is_for_people_or_for_programs(verb, capsys):
    def show(session) -> None:
        session.output.remarks.print("a remark")
        session.output.result(
            {"rows": [1]}, lambda _: session.output.table("T", ["a"], [["[b]1[/b]"], [None]])
        )

    verb(show)
    cli.run(["probe", "--output", "json"])
    out, err = capsys.readouterr()
    assert json.loads(out) == {"rows": [1]}
    assert err == ""
    cli.run(["probe"])
    out, err = capsys.readouterr()
    assert "[b]1[/b]" in out
    assert err == "a remark\n"


def test_a_misspelt_verb_gets_a_suggestion(capsys):
    assert cli.run(["topisc"]) == 2
    assert "Did you mean 'topics'?" in capsys.readouterr().err


@pytest.mark.parametrize("args", [[], ["journeys"], ["topics"]])
def test_no_verb_prints_help(args, capsys):
    assert cli.run(args) == 2
    assert "Commands:" in capsys.readouterr().err


def verbs(command: click.Command, context: click.Context):
    """Every command that does something, with its context."""
    if not isinstance(command, click.Group):
        yield command, context
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None, name
        yield from verbs(found, click.Context(found, parent=context, info_name=name))


def test_every_help_text_has_an_example():
    """The line that a newcomer copies; programs get JSON from all but roles and plain documents."""
    silent = set()
    for command, context in verbs(cli.root, click.Context(cli.root, info_name="orchestrator")):
        lines = command.get_help(context).splitlines()
        said = [line.split("Example: ")[-1].strip() for line in lines if "Usage:" not in line]
        verb = context.command_path.removeprefix("orchestrator ")
        shown = [line for line in said if line.startswith("orchestrator ") and verb in line]
        assert shown, f"orchestrator {verb} --help shows no example"
        if not any("--output" in option.opts for option in command.params):
            silent.add(verb)
    roles, documents = {"collect", "connect", "deliver", "worker"}, {"asyncapi", "export"}
    assert {verb.split()[-1] for verb in silent} == roles | documents


def test_what_the_exit_codes_mean_stands_in_the_help(capsys):
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Exit codes: 0 ok, 1 findings, 2 wrong usage or settings, 3 could not run" in out
    assert "orchestrator demo --story" in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["dlq", "show"], "Missing argument 'PLACE'. See `orchestrator dlq show --help`."),
        (["customer", "shw"], "Did you mean 'show'? See `orchestrator customer --help`."),
        (["topics", "plan", "--output", "xml"], "See `orchestrator topics plan --help`."),
    ],
)
def test_wrong_usage_names_the_help(args, says, capsys):
    assert cli.run(args) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["apply", "lint", "plan", "test", "diagram"])
def test_a_workspace_that_is_not_there_is_no_empty_one(verb, capsys):
    """A misspelt folder is not told that its policy.yaml is missing."""
    assert cli.run(["journeys", verb, "wrkspace"]) == 2
    assert "wrkspace is no folder" in capsys.readouterr().err


def test_set_needs_a_value(capsys):
    assert cli.run(["--set", "worker.slot", "settings", "show"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_help_imports_no_verb():
    """Help stays quick, and works although one verb may be broken."""
    program = (
        "import sys; from orchestrator import cli; code = cli.run(['--help'])\n"
        "sys.exit(code or any(name in sys.modules for name in "
        "('confluent_kafka', 'faust', 'orchestrator.cli.topics')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "topics" in done.stdout
    assert "Topics and grants of this deployment" in done.stdout


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "settings", "show", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["topics"]["prefix"] == "journey"
