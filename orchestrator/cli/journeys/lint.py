"""Check a workspace: every finding with file, line, column and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session

_FINDINGS = 1


@click.command(epilog="Example: orchestrator journeys lint deploy/example deploy/example/demo")
@click.argument("folders", nargs=-1, metavar="[DIR [OVERLAY...]]", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def command(session: Session, folders: tuple[Path, ...]) -> int:
    """Check the workspace in DIR (default: the current folder), offline.

    An OVERLAY's file replaces the file of the same name. Warnings alone do not fail.
    """
    from orchestrator.errors import UsageError
    from orchestrator.journeys import check_workspace

    wanted = folders or (Path(),)
    for folder in wanted:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder")
    report = check_workspace(*wanted)
    warnings = sum(each.warning for each in report.diagnostics)
    errors = len(report.diagnostics) - warnings
    data = {
        "ok": not errors,
        "errors": errors,
        "warnings": warnings,
        "diagnostics": [
            {
                "file": each.mark.file,
                "line": each.mark.line,
                "column": each.mark.column,
                "number": each.number,
                "name": each.name,
                "severity": "warning" if each.warning else "error",
                "text": each.text,
                "remedy": each.remedy,
            }
            for each in report.diagnostics
        ],
    }

    def as_text(console: Console) -> None:
        from rich.text import Text

        for each in report.diagnostics:
            console.print(Text(str(each), style="yellow" if each.warning else "red"))
        console.print(_summary(errors, warnings))

    session.output.result(data, as_text)
    return _FINDINGS if errors else 0


def _summary(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "No findings."
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return f"{', '.join(parts)}."
