"""Compare the cluster's topics with those of this deployment; create and configure them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.kafka.cluster import Change

FINDINGS = 1


@click.group()
def command() -> None:
    """Plan and apply topics."""


@command.command()
@output_option
@click.pass_obj
@click.pass_context
def plan(context: click.Context, session: Session) -> None:
    """Show what `apply` would change; exit code 1 if anything differs."""
    from orchestrator.kafka.topics import Topology

    changes = Topology(session.settings).plan()
    _show(session, changes, "The cluster is as it should be.")
    if changes:
        context.exit(FINDINGS)


@command.command()
@output_option
@click.pass_obj
@click.pass_context
def apply(context: click.Context, session: Session) -> None:
    """Create what is missing, configure what differs; never delete, never repartition."""
    from orchestrator.kafka.topics import Topology

    changes = Topology(session.settings).apply()
    _show(session, changes, "Nothing to do: the cluster is as it should be.")
    if any(change.action == "refuse" for change in changes):
        context.exit(FINDINGS)


def _show(session: Session, changes: Sequence[Change], if_none: str) -> None:
    data = [
        {"action": change.action, "topic": change.topic, "detail": change.detail}
        for change in changes
    ]

    def as_table(console: Console) -> None:
        if changes:
            rows = [(change.action, change.topic, change.detail) for change in changes]
            session.output.table("", ("action", "topic", "what"), rows)
        else:
            console.print(if_none)

    session.output.result({"changes": data}, as_table)
