"""Topics and grants of this deployment: compared, created, or exported to what keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.kafka.acls import Grant
    from orchestrator.kafka.cluster import Change
    from orchestrator.settings import Settings

FINDINGS = 1
CLUSTER = click.option(
    "--cluster",
    default="my-cluster",
    show_default=True,
    help="Name of the Kafka resource that Strimzi's resources belong to.",
)


@click.group()
def command() -> None:
    """Topics and grants: plan, apply, export, acls."""


@command.command(epilog="Example: orchestrator topics plan --output json")
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


@command.command(epilog="Example: orchestrator topics apply")
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


@command.command(epilog="Example: orchestrator topics export --format strimzi --cluster prod")
@click.option(
    "--format",
    "form",
    type=click.Choice(["strimzi", "terraform", "shell"]),
    required=True,
    help="KafkaTopic resources, resources of the provider Mongey/kafka, or kafka-topics.sh.",
)
@CLUSTER
@click.pass_obj
def export(session: Session, form: str, cluster: str) -> None:
    """Print the topics for those who create them by other means than `topics apply`."""
    from orchestrator.kafka import exports
    from orchestrator.kafka.topics import Topology

    specs = Topology(session.settings).specs()
    match form:
        case "strimzi":
            text = exports.topics_as_strimzi(specs, cluster)
        case "terraform":
            text = exports.topics_as_terraform(specs)
        case _:
            text = exports.topics_as_shell(specs)
    click.echo(text, nl=False)


@command.command(
    epilog="Example: orchestrator topics acls --role worker --format shell --principal 'User:CN={}'"
)
@click.option(
    "--role", "chosen", multiple=True, help="Only this role, for example `deliver email`."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "strimzi", "shell"]),
    default="table",
    show_default=True,
    help="For people, KafkaUser resources, or kafka-acls.sh.",
)
@click.option(
    "--principal",
    "template",
    default="User:{}",
    show_default=True,
    help="What a role is to the brokers; {} = its account, for example journey-deliver-email. "
    "With client certificates: `User:CN={}`.",
)
@CLUSTER
@output_option
@click.pass_obj
def acls(session: Session, chosen: tuple[str, ...], form: str, template: str, cluster: str) -> None:
    """Show what each role needs of a cluster with an authorizer, and nothing else.

    Roles are named as their commands. `apply` is `journeys apply` and its siblings, `topics` is
    `topics apply`, `tools` reads everything and writes nothing.
    The verbs of `state` log in as the worker does.
    """
    from orchestrator.kafka import exports

    settings = session.settings
    roles = _roles(settings, chosen)
    principals = {role: template.replace("{}", exports.account(settings, role)) for role in roles}

    def as_text(_: Console) -> None:
        if form == "strimzi":
            click.echo(exports.acls_as_strimzi(roles, settings, cluster), nl=False)
        elif form == "shell":
            click.echo(exports.acls_as_shell(roles, principals), nl=False)
        else:
            for role, needs in roles.items():
                session.output.table(f"{role}: {principals[role]}", _COLUMNS, _rows(needs))

    session.output.result(_as_data(roles, principals), as_text)


_COLUMNS = ("resource", "name", "operations", "for")


def _roles(settings: Settings, chosen: Sequence[str]) -> dict[str, list[Grant]]:
    from orchestrator.errors import UsageError
    from orchestrator.kafka.acls import grants

    roles = grants(settings)
    for role in chosen:
        if role not in roles:
            raise UsageError(f"--role {role}: there is {', '.join(roles)}")
    return {role: needs for role, needs in roles.items() if not chosen or role in chosen}


def _rows(needs: Sequence[Grant]) -> list[tuple[str, str, str, str]]:
    return [
        (
            one.resource,
            f"{one.name}*" if one.prefixed else one.name,
            ", ".join(one.operations),
            one.why,
        )
        for one in needs
    ]


def _as_data(
    roles: Mapping[str, Sequence[Grant]], principals: Mapping[str, str]
) -> dict[str, object]:
    return {
        "roles": [
            {"role": role, "principal": principals[role], "grants": list(needs)}
            for role, needs in roles.items()
        ]
    }


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
