"""The command line: one file per verb. Exit codes 0 ok, 1 findings, 2 usage, 3 could not run."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli.lazy import LazyGroup
from orchestrator.cli.output import output_option
from orchestrator.cli.session import Session
from orchestrator.errors import FatalError, OrchestratorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FINDINGS", "Session", "main", "output_option", "root", "run"]

OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
COULD_NOT_RUN: Final = 3
FATAL: Final = 70
INTERRUPTED: Final = 130


def _start(settings: str | None, assignments: tuple[str, ...]) -> None:
    session = click.get_current_context().ensure_object(Session)
    session.settings_file = settings
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: write NAME=VALUE")
        session.flags[name] = value


root = LazyGroup(
    __name__,
    __path__,
    name="orchestrator",
    callback=_start,
    help="Customer journey orchestration on Kafka.",
    epilog="""\b
Examples:
  orchestrator demo --story                  one customer's three days, explained
  orchestrator journeys test deploy/example  a workspace's own tests, without Kafka
  orchestrator COMMAND --help                every command, with an example

\b
Exit codes: 0 ok, 1 findings, 2 wrong usage or settings, 3 could not run,
70 and above: ended by a fault, which the last lines name.""",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        click.Option(
            ["--settings"],
            metavar="FILE",
            help="Settings file; else $ORCHESTRATOR_SETTINGS, else ./orchestrator.yaml.",
        ),
        click.Option(
            ["--set", "assignments"],
            metavar="NAME=VALUE",
            multiple=True,
            help="Override one setting, for example clock.mode=log.",
        ),
    ],
)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors of ours become words and a code."""
    session = Session()
    try:
        code = root.main(list(args), prog_name="orchestrator", standalone_mode=False, obj=session)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return USAGE
    except click.ClickException as error:
        _report(session, "UsageError", _with_help(error))
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OrchestratorError as error:
        _report(session, type(error).__name__, str(error))
        return _code(error)
    except Exception:  # noqa: BLE001 - the last resort of the process: a bug, said aloud
        # Python's own exit code 1 would read as findings.
        traceback.print_exc()
        return FATAL
    return code if isinstance(code, int) else OK


def _code(error: OrchestratorError) -> int:
    match error:
        case UsageError():
            return USAGE
        case FatalError():
            return error.exit_code
        case _:
            return COULD_NOT_RUN


def _with_help(error: click.ClickException) -> str:
    """Return what was wrong with a command line, and the command that shows how it is meant."""
    text = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return text
    stop = "" if text.endswith((".", "?")) else "."
    return f"{text}{stop} See `{context.command_path} --help`."


def _report(session: Session, kind: str, text: str) -> None:
    if session.output.json:
        import msgspec

        click.echo(msgspec.json.encode({"error": {"type": kind, "message": text}}), err=True)
    else:
        click.echo(f"orchestrator: {text}", err=True)
