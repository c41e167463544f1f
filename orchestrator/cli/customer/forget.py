"""Erase a customer on request, and say when the last copy is gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.customer._erasure import Traces
    from orchestrator.cli.customer._retention import Kept
    from orchestrator.cli.session import Session

ELSEWHERE = (
    "files of `orchestrator state export`, and backups: erase them as you erase backups",
    "disks of workers that had the partition before: rid of it when they open it again",
    "other systems: your sources, the providers that deliver, what has arrived at the customer",
)


@click.command(epilog="Example: orchestrator customer forget email:anna@example.com --yes")
@click.argument("customer")
@click.option("--yes", is_flag=True, help="Do it. Without it the command says what it would erase.")
@click.option(
    "--wait",
    "patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long to wait until it is done.",
)
@output_option
@click.pass_obj
def command(session: Session, customer: str, yes: bool, patience: float) -> None:
    """Erase CUSTOMER (a customer id, or an identity kind:value), and all who were merged into them.

    Their state, their identities and their in-app inbox go: from the changelogs when Kafka compacts
    them, from the workers' RocksDB files at once. What is under way ends; messages that a sink still
    holds are cancelled (mandatory ones are sent). Topics with a retention forget by themselves: the
    command prints the day on which each has. Of each identity a salted hash stays: whoever comes with
    it again is a new customer, who has consented to nothing until they grant it anew.

    The orders lie in the log. Without a running worker they wait there; running the command again is
    always safe, and is how to check. Exit code 1: not everything is gone yet.
    """
    from orchestrator.cli.customer._erasure import Erasure
    from orchestrator.cli.customer._reader import CustomerReader
    from orchestrator.cli.customer._retention import kept
    from orchestrator.errors import UsageError

    settings = session.settings
    if settings.clock.mode == "log":
        raise UsageError("clock.mode is log: this is a simulation; delete its topics instead")
    path, _ = CustomerReader(settings).follow(customer)
    customer_id = path[-1]
    with Erasure(settings, customer_id) as erasure:
        before = erasure.look()
        left = erasure.erase(patience) if yes else before
    topics = kept(settings, time.time_ns() // 1_000_000)
    done = yes and left.none
    data = {
        "customer": customer_id,
        "merged": before.customer_ids[1:],
        "identities": len(before.rows),
        "states": len(before.states),
        "inbox": len(before.inbox),
        "ordered": yes,
        "done": done,
        "left": msgspec.to_builtins(left) if yes else None,
        "topics": msgspec.to_builtins(topics),
        "elsewhere": list(ELSEWHERE),
    }
    session.output.result(data, lambda console: _print(console, session, before, left, topics, yes))
    if yes and not done:
        click.get_current_context().exit(1)


def _print(
    console: Console,
    session: Session,
    before: Traces,
    left: Traces,
    topics: list[Kept],
    yes: bool,
) -> None:
    from orchestrator.explain import instant

    customer_id, *others = before.customer_ids
    also = f" (and {', '.join(others)}, merged into them)" if others else ""
    what = (
        f"{len(before.states)} states, {len(before.rows)} identities, {len(before.inbox)} records of "
        "the inbox"
    )
    if before.none:
        console.print(f"nothing is kept of {customer_id} (mind the spelling)", markup=False)
    elif not yes:
        console.print(f"would erase {customer_id}{also}: {what}. Add --yes.", markup=False)
    elif left.none:
        console.print(f"erased {customer_id}{also}: {what}", style="bold", markup=False)
    else:
        console.print(
            f"ordered, but not done yet: {customer_id}{also}. Left: {len(left.states)} states, "
            f"{len(left.rows)} identities. Do the workers run? The orders wait in the log; run this "
            "again to check.",
            style="bold",
            markup=False,
        )
    rows = [
        [
            one.topic,
            "retention" if one.how == "delete" else "compaction",
            f"{instant(one.until)} UTC" if one.until else "never: no limit is set on the topic",
        ]
        for one in topics
    ]
    session.output.table("the last copy goes by itself", ["topic", "by", "at the latest"], rows)
    console.print("not ours to erase:")
    for line in ELSEWHERE:
        console.print(f"  - {line}", markup=False)
