"""Show the whole engine at work on a real Kafka that this command starts itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option
from orchestrator.errors import CouldNotRun, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.session import Session

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example"


@click.command(epilog="Example: orchestrator demo --story")
@click.option(
    "--story", is_flag=True, help="One customer's story at its real durations, explained."
)
@output_option
@click.pass_obj
def command(session: Session, *, story: bool) -> None:
    """Start a real Kafka, all roles and the example workspace, and show what is decided and why."""
    if not story:
        raise UsageError(
            "write `orchestrator demo --story`; the live demo is not part of this version"
        )
    if not EXAMPLE.is_dir():
        raise CouldNotRun(f"the example workspace is missing at {EXAMPLE}: run from a checkout")
    from orchestrator.cli.demo.narration import Narrator
    from orchestrator.cli.demo.story import play

    play(EXAMPLE, Narrator(session.output))
