"""Draw journeys as Mermaid text, for pull requests and documentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session


@click.command(epilog="Example: orchestrator journeys diagram deploy/example > journeys.md")
@click.argument("folders", nargs=-1, metavar="[DIR [OVERLAY...]]", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def command(session: Session, folders: tuple[Path, ...]) -> None:
    """Print every journey of the workspace in DIR (default: the current folder), offline.

    Markdown with one Mermaid flowchart for each journey: GitHub, GitLab and most editors draw it.
    """
    from orchestrator.journeys import load_workspace
    from orchestrator.journeys.diagram import mermaid

    workspace = load_workspace(*(folders or (Path(),)))
    drawn = {name: mermaid(one) for name, one in sorted(workspace.catalog.journeys.items())}

    def as_text(console: Console) -> None:
        for name, text in drawn.items():
            console.print(f"## {name}\n\n```mermaid\n{text}```\n", markup=False)

    session.output.result(
        {"journeys": [{"journey": name, "mermaid": text} for name, text in drawn.items()]}, as_text
    )
