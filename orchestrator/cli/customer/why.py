"""Say in one screen why a customer got a message, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from orchestrator.cli.customer._reader import CustomerReader
from orchestrator.cli.output import output_option
from orchestrator.explain import because, concerning, instant, sentence, verdict

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session

SCREEN = 20
"""So many decisions are shown; the newest decide."""


@click.command(
    epilog="Example: orchestrator customer why acme-42 follow-up", short_help="Why, or why not."
)
@click.argument("customer")
@click.argument("message")
@output_option
@click.pass_obj
def command(session: Session, customer: str, message: str) -> None:
    """Explain what became of MESSAGE for CUSTOMER (a customer id, or an identity kind:value)."""
    found = CustomerReader(session.settings).find(customer)
    decisions = concerning(found.decisions, message)
    answer = verdict(decisions, message)

    def show(console: Console) -> None:
        console.print(answer, style="bold", markup=False)
        for decision in decisions[-SCREEN:]:
            console.print(f"\n{instant(decision.decided_at)}  {sentence(decision)}", markup=False)
            place = f"journey {decision.journey}, step {decision.step}, entry {decision.entry_id}"
            if decision.journey:
                console.print(f"    {place}", markup=False, style="dim")
            console.print(f"    caused by {decision.caused_by}", markup=False, style="dim")
            for candidate in decision.candidates:
                until = f" until {instant(candidate.until)}" if candidate.until else ""
                rule = f", rule {candidate.rule}" if candidate.rule else ""
                console.print(
                    f"    {candidate.name}: {candidate.outcome} {candidate.reason or ''}{rule}{until}",
                    markup=False,
                )
        if len(decisions) > SCREEN:
            console.print(f"\n({len(decisions) - SCREEN} earlier ones: --output json)")

    session.output.result(
        {
            "customer": found.customer_id,
            "message": message,
            "answer": answer,
            "decisions": [
                msgspec.to_builtins(decision) | {"because": because(decision)}
                for decision in decisions
            ],
        },
        show,
    )
