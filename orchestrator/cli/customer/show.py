"""Show one customer: profile, consent, where they are in which journey, the newest decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from orchestrator.cli.customer._reader import CustomerReader, Found
from orchestrator.cli.output import output_option
from orchestrator.explain import instant, sentence

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session

NEWEST = 12


@click.command(epilog="Example: orchestrator customer show email:anna@example.com")
@click.argument("customer")
@output_option
@click.pass_obj
def command(session: Session, customer: str) -> None:
    """Show CUSTOMER (a customer id, or an identity kind:value)."""
    found = CustomerReader(session.settings).find(customer)
    data = msgspec.to_builtins(
        {
            "customer": found.customer_id,
            "path": found.path,
            "merged": found.state.merged,
            "first_seen": found.state.first_seen,
            "lifecycle": found.state.profile.lifecycle,
            "traits": _traits(found),
            "consent": _consent(found),
            "entries": _entries(found),
            "sends": len(found.state.sends),
            "decisions": found.decisions,
        },
        str_keys=True,
    )
    session.output.result(data, lambda console: _print(console, session, found))


def _traits(found: Found) -> dict[str, object]:
    return {
        name: trait.value if trait.value is not None else trait.open or len(trait.hits) or None
        for name, trait in sorted(found.state.profile.traits.items())
    }


def _consent(found: Found) -> list[dict[str, object]]:
    return [
        {
            "channel": one.channel or "all",
            "category": one.category or "all",
            "granted": one.granted,
            "at": one.at,
        }
        for statements in found.state.profile.consent
        for one in statements
    ]


def _entries(found: Found) -> list[dict[str, object]]:
    return [
        {
            "journey": entry.journey,
            "key": entry.key,
            "step": entry.step,
            "started": entry.started,
            "wakes": entry.wake or (entry.pending.until if entry.pending else 0),
            "pending": entry.pending.reason if entry.pending else None,
        }
        for entry in found.state.entries
    ]


def _print(console: Console, session: Session, found: Found) -> None:
    console.print(f"customer {found.customer_id}", style="bold", markup=False)
    if len(found.path) > 1:
        console.print("  found by " + " -> ".join(found.path), markup=False)
    if found.state.merged:
        console.print("  was also " + ", ".join(found.state.merged), markup=False)
    console.print(f"  first seen {instant(found.state.first_seen)} UTC", markup=False)
    if found.state.profile.lifecycle:
        console.print(f"  lifecycle {found.state.profile.lifecycle}", markup=False)
    table = session.output.table
    traits = _traits(found)
    if traits:
        table("profile", ["trait", "value"], [[name, traits[name]] for name in traits])
    consent = [
        [one["channel"], one["category"], "granted" if one["granted"] else "revoked"]
        for one in _consent(found)
    ]
    if consent:
        table("consent", ["channel", "category", ""], consent)
    entries = [
        [
            entry["journey"],
            entry["key"],
            entry["step"],
            instant(int(str(entry["wakes"]))) if entry["wakes"] else "-",
            entry["pending"] or "",
        ]
        for entry in _entries(found)
    ]
    if entries:
        table("live entries", ["journey", "key", "step", "wakes (UTC)", "held by"], entries)
    rows = [[instant(d.decided_at), sentence(d)] for d in found.decisions[-NEWEST:]]
    if rows:
        table("newest decisions", ["UTC", "what and why"], rows)
