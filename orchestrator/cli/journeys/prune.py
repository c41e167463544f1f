"""Remove definitions that nothing refers to any more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.journeys._deployed import Table
    from orchestrator.cli.session import Session
    from orchestrator.codec import Codec
    from orchestrator.settings import Settings


@click.command(epilog="Example: orchestrator journeys prune --apply")
@click.option("--apply", "really", is_flag=True, help="Remove them; without it they are listed.")
@output_option
@click.pass_obj
def command(session: Session, really: bool) -> None:
    """List the definitions that nothing refers to any more; with --apply remove them.

    Kept is what the catalog in force names, what live entries are pinned to, what a catalog that
    still lies on the timeline names (so that `replay` and a worker that was away can compile it),
    and what an action that still lies on an action topic renders with.
    """
    result = prune(session.settings, really=really)

    def as_text(console: Console) -> None:
        rows = [(one["kind"], one["name"], one["hash"][:12]) for one in result["unused"]]
        if rows:
            session.output.table("", ("kind", "name", "hash"), rows)
        kept = ", ".join(f"{count} {why}" for why, count in result["kept"].items() if count)
        console.print(f"kept: {kept or 'none'}", markup=False)
        if not rows:
            console.print("Nothing to remove.")
        elif really:
            console.print(f"{len(rows)} removed.")
        else:
            console.print(f"{len(rows)} can go: run it again with --apply.")

    session.output.result(result, as_text)


def prune(settings: Settings, *, really: bool) -> dict[str, Any]:
    """Return which definitions are unused and, if ``really``, remove them.

    No catalog can be applied meanwhile: whoever tries stops this before anything is removed.

    Raises:
        CouldNotRun: Nothing was ever applied, or somebody applies right now.
        UnavailableError: Kafka or the registry is away.
    """
    from orchestrator.cli.journeys._deployed import in_force
    from orchestrator.codec import open_codec
    from orchestrator.kafka.definitions import read_definitions
    from orchestrator.kafka.publishing import WRITES, CatalogPublisher
    from orchestrator.kafka.topics import Topology

    topology, codec = Topology(settings), open_codec(settings)
    if really:
        topology.verify(*WRITES)
        publisher = CatalogPublisher(settings, codec)
        known = publisher.open()
    else:
        known = read_definitions(settings, codec)
    reasons = {"in force": set(in_force(known).definitions.values())}
    reasons |= _references(settings)
    unused = sorted(
        (one for one in known.by_hash.values() if not any(one.hash in r for r in reasons.values())),
        key=lambda one: (one.kind, one.name, one.hash),
    )
    if really:
        publisher.prune(one.hash for one in unused)
    kept: Counter[str] = Counter()
    for hash_ in known.by_hash:
        kept[next((why for why, held in reasons.items() if hash_ in held), "")] += 1
    del kept[""]
    return {
        "removed": really,
        "unused": [{"kind": one.kind, "name": one.name, "hash": one.hash} for one in unused],
        "kept": dict(kept),
    }


def _references(settings: Settings) -> dict[str, set[str]]:
    """Return the hashes that are referred to elsewhere, by where."""
    from orchestrator.cli.journeys._deployed import read_customers
    from orchestrator.codec import open_codec
    from orchestrator.kafka.reading import read_partition
    from orchestrator.kafka.topics import Topology

    topology, found = Topology(settings), _References(open_codec(settings))
    timeline = topology.name("timeline")
    for partition, position in read_customers(settings, found.table):
        # A life on its way between two partitions is in neither table. And every partition holds
        # the same catalogs: only the first one is read from its beginning, for those.
        for message in read_partition(settings, timeline, partition, position if partition else 0):
            found.record(message.value())
    for topic in topology.names("actions"):
        for partition in range(topology.partitions("actions")):
            for message in read_partition(settings, topic, partition):
                found.record(message.value())
    return {
        "pinned by entries": found.entries,
        "named by a catalog on the timeline": found.catalogs,
        "rendered by actions": found.actions,
    }


class _References:
    """Collects hashes from tables and records."""

    def __init__(self, codec: Codec) -> None:
        self.entries: set[str] = set()
        self.catalogs: set[str] = set()
        self.actions: set[str] = set()
        self._codec = codec

    def table(self, part: Table) -> tuple[int, int]:
        """Take one partition of the customers; return (its number, its place on the timeline)."""
        for row in part.states:
            self._customer(row)
        for mark in part.meta.catalogs:
            self.catalogs.update(mark.switch.definitions.values())
        return part.partition, part.meta.position

    def record(self, value: bytes | None) -> None:
        """Take one record of the timeline or of an action topic."""
        from orchestrator.errors import DecodeError
        from orchestrator.kafka.decoding import decode_now
        from orchestrator.records import Absorb, Action, CatalogSwitch

        if not value:
            return
        try:
            record = decode_now(self._codec, value)
        except DecodeError:
            return  # a dead letter, or about to be one
        match record:
            case Absorb(state=state):
                self._customer(state)
            case CatalogSwitch(definitions=definitions):
                self.catalogs.update(definitions.values())
            case Action(template=template):
                self.actions.add(template)
            case _:
                pass

    def _customer(self, row: bytes) -> None:
        from orchestrator.stages.decide import state as customers

        customer = customers.decode(row)
        self.entries.update(one.version for one in customer.entries)
        self.entries.update(one.version for one in customer.past.values() if one.goal_until)
