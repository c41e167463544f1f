"""Show the whole engine at work on a real Kafka that this command starts itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option
from orchestrator.errors import CouldNotRun, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.session import Session

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example"


class Period(click.ParamType):
    """An ISO 8601 duration; seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return elapsed seconds."""
        if isinstance(value, float):
            return value
        from orchestrator.expressions.durations import parse_duration

        try:
            return parse_duration(value).milliseconds() / 1000
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog="""\b
Examples:
  orchestrator demo
  orchestrator demo --for PT30S
  orchestrator demo --story"""
)
@click.option(
    "--story", is_flag=True, help="One customer's story at its real durations, explained."
)
@click.option(
    "--for",
    "seconds",
    type=Period(),
    metavar="DURATION",
    help="Stop by itself after so long, for example PT30S; else Ctrl-C stops it.",
)
@output_option
@click.pass_obj
def command(session: Session, *, story: bool, seconds: float | None) -> None:
    """Start a real Kafka, all roles and the example workspace, and show what is decided and why.

    Some hundred simulated customers visit, sign up, open and click, view pricing, raise tickets,
    pay, complain and unsubscribe; the example's days pass in seconds (deploy/example/demo). Kill any
    role meanwhile: it is started again, and nothing is lost or decided twice.

    With `--output json` the first line has the addresses: `collector` takes Segment calls with
    `write_key` (or `server_key`, for what only a server may say), `mail` lists the e-mails that went
    out (`?to=ADDRESS`), `inbox`/CUSTOMER is an in-app inbox, and other verbs work beside it with
    `--settings` and the file `settings`. Each further line is one decision.
    """
    if story and seconds is not None:
        raise UsageError("the story ends by itself: --for goes with the live demo")
    if not EXAMPLE.is_dir():
        raise CouldNotRun(f"the example workspace is missing at {EXAMPLE}: run from a checkout")
    if story:
        from orchestrator.cli.demo.narration import Narrator
        from orchestrator.cli.demo.story import play

        play(EXAMPLE, Narrator(session.output))
    else:
        from orchestrator.cli.demo import live
        from orchestrator.cli.demo.view import view_for

        live.play(EXAMPLE, view_for(session.output), seconds)
