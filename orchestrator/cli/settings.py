"""Show the settings in force, secrets masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session


@click.group()
def command() -> None:
    """Look at the settings."""


@command.command(epilog="Example: orchestrator --set clock.mode=log settings show")
@output_option
@click.pass_obj
def show(session: Session) -> None:
    """Print all settings as they are after file, environment and flags."""
    import yaml

    from orchestrator.settings import shown

    data = shown(session.settings)

    def as_yaml(console: Console) -> None:
        console.print(
            yaml.safe_dump(data, sort_keys=False, allow_unicode=True), markup=False, end=""
        )

    session.output.result(data, as_yaml)
