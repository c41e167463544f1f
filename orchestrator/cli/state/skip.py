"""Pass over one record or timer that kills its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from orchestrator.cli.session import Session


@click.command(
    epilog="Example: orchestrator state skip journey.timeline 3 81240 --reason 'ticket 4711'"
)
@click.argument("topic")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--timer", metavar="CUSTOMER", help="A timer of this customer, not the record.")
@click.option("--due", metavar="MS", type=click.IntRange(min=1), help="The timer's instant.")
@click.option("--reason", required=True, help="Kept in the log and in the dead letter.")
@output_option
@click.pass_obj
def command(
    session: Session,
    topic: str,
    partition: int,
    offset: int,
    timer: str | None,
    due: int | None,
    reason: str,
) -> None:
    """Pass over the record at OFFSET of PARTITION of TOPIC, or a timer that is due in front of it.

    The worker's alarm and /readyz print the whole command. A record or timer at which a worker died
    three times holds its partition; this order lets it go on, within some seconds, without that. It is
    written behind it into the same partition, so the log still tells all, and what is passed over
    becomes a dead letter with the cause `skipped`. A passed timer ends the entries that were due, as
    if it had failed. A worker that is not held there goes by and does nothing.
    """
    from orchestrator.codec import open_codec
    from orchestrator.errors import UsageError
    from orchestrator.kafka.orders import order_skip
    from orchestrator.kafka.topics import Topology
    from orchestrator.records import Skip

    if not reason.strip():
        raise UsageError("--reason is kept for ever: say why")
    if (timer is None) != (due is None):
        raise UsageError("--timer and --due belong together: the worker's alarm prints both")
    topology = Topology(session.settings)
    inputs = topology.names("events", "timeline")
    if topic not in inputs:
        raise UsageError(f"{topic} is no input of a stage; those are: {', '.join(inputs)}")
    logical = inputs[topic]
    if partition >= topology.partitions("timeline" if logical == "timeline" else "events"):
        raise UsageError(f"{topic} has no partition {partition}")
    codec = open_codec(session.settings)
    codec.prepare({topic: logical})
    order = Skip(partition=partition, offset=offset, reason=reason, timer=timer, due=due)
    at = order_skip(session.settings, codec, topic, order)
    session.output.result(
        {"topic": topic, "partition": partition, "offset": offset, "timer": timer, "order": at},
        lambda console: console.print(
            f"{topic} [{partition}]: {f'a timer of {timer} at ' if timer else ''}offset {offset} will "
            f"be passed over; the order lies at {at}.\n"
            "If the partition is held there, it goes on within some seconds; see /readyz.",
            markup=False,
        ),
    )
