"""Show every journey: its status, its version, and how many customers stand at which step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.settings import Settings


@click.command(epilog="Example: orchestrator journeys status")
@output_option
@click.pass_obj
def command(session: Session) -> None:
    """Show every journey: its status, its version, and how many customers stand at which step.

    Counted from the customers' changelog as committed, all partitions, read whole: with millions of
    customers this takes minutes, and the workers' metrics are the quicker answer.
    """
    result = status(session.settings)

    def as_text(console: Console) -> None:
        console.print(f"catalog {result['catalog'][:12]}", markup=False)
        rows = []
        for one in result["journeys"]:
            first = [one["journey"], one["status"], one["version"][:12]]
            places = one["parked"] or [{"step": "", "version": one["version"], "customers": 0}]
            for place in places:
                earlier = "" if place["version"] == one["version"] else place["version"][:12]
                rows.append([*first, place["step"], place["customers"], earlier])
                first = ["", "", ""]
        columns = ("journey", "status", "version", "step", "entries", "of an earlier version")
        session.output.table("", columns, rows)

    session.output.result(result, as_text)


def status(settings: Settings) -> dict[str, Any]:
    """Return the catalog in force and where everybody stands.

    Raises:
        CouldNotRun: Nothing was ever applied.
        UnavailableError: Kafka or the registry is away.
    """
    from orchestrator.cli.journeys._deployed import (
        KIND,
        in_force,
        journeys_of,
        parked,
        read_customers,
        status_of,
    )
    from orchestrator.codec import open_codec
    from orchestrator.kafka.definitions import read_definitions

    catalog = in_force(read_definitions(settings, open_codec(settings)))
    counts: Counter[tuple[str, str, str]] = Counter()
    for part in read_customers(settings, parked):
        counts.update(part)
    live = journeys_of(catalog)
    # A journey that was taken out of the catalog may still have entries on their way.
    names = sorted({*live, *(journey for journey, _, _ in counts)})
    return {
        "catalog": catalog.catalog,
        "journeys": [
            {
                "journey": name,
                "status": status_of(catalog, name) if name in live else "removed",
                "version": catalog.definitions.get(KIND + name, ""),
                "entries": sum(count for place, count in counts.items() if place[0] == name),
                "parked": [
                    {"step": step, "version": version, "customers": count}
                    for (journey, version, step), count in sorted(counts.items())
                    if journey == name
                ],
            }
            for name in names
        ],
    }
