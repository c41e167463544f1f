"""Look whether this deployment is sound: broker, topics, registry, senders, clock, disk, groups, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.doctor._checks import Check
    from orchestrator.cli.session import Session

FINDINGS = 1


@click.command()
@output_option
@click.pass_obj
@click.pass_context
def command(context: click.Context, session: Session) -> None:
    """Check the deployment that the settings describe; exit code 1 if anything is wrong.

    Run it where a role runs, with that role's settings: network, credentials, clock and disk are
    those of this machine. It writes one thing, a tick to partition 0 of the timeline, to see the
    broker's clock; none if `clock.mode` is log.

    Example: orchestrator --settings orchestrator.yaml doctor
    """
    from orchestrator.cli.doctor._checks import Verdict, examine

    with session.output.remarks.status("examining"):
        checks = examine(session.settings)
    findings = [check for check in checks if check.verdict is Verdict.FINDING]
    data = {"checks": checks, "findings": len(findings)}
    session.output.result(data, lambda console: _show(session, console, checks, len(findings)))
    if findings:
        context.exit(FINDINGS)


def _show(session: Session, console: Console, checks: list[Check], findings: int) -> None:
    rows = [(check.verdict.value, check.name, check.detail, check.remedy) for check in checks]
    session.output.table("", ("", "check", "what was seen", "what to do"), rows)
    console.print(f"{findings} finding{'' if findings == 1 else 's'}.")
