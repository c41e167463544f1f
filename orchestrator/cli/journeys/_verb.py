"""The four verbs that give a journey another status are one verb with four names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.journeys.apply import Instant
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.records import JourneyStatus


def status_verb(name: str, status: JourneyStatus, help_: str) -> click.Command:
    """Return the verb ``name``, which puts a journey into ``status``."""

    @click.command(
        name,
        help=help_,
        short_help=help_.partition("\n")[0],
        epilog=f"Example: orchestrator journeys {name} trial-to-paid",
    )
    @click.argument("journey", metavar="NAME")
    @click.option(
        "--at",
        type=Instant(),
        help="Log time of the change, with clock.mode log only. Default: behind what the log holds.",
    )
    @output_option
    @click.pass_obj
    def verb(session: Session, journey: str, at: int | None) -> None:
        from orchestrator.cli.journeys._deployed import set_status

        result = set_status(session.settings, journey, status, at)
        words = (
            f"{journey}: {result['before']} -> {status}; catalog {result['catalog'][:12]} is in force."
            if result["changed"]
            else f"{journey} is {status} already: nothing changed."
        )
        session.output.result(result, lambda console: console.print(words, markup=False))

    return verb
