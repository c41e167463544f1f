"""Compare our schemas with the registry's; register them and their rule."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.codec.contracts import Contract
    from orchestrator.settings import Settings

FINDINGS: Final = 1


@click.group()
def command() -> None:
    """Check, register and describe schemas."""


@command.command(epilog="Example: orchestrator schemas check  (in CI, before an upgrade)")
@output_option
@click.pass_obj
def check(session: Session) -> int:
    """Ask the registry whether every schema of ours is there, or would be taken; exit 1 if not.

    One subject for each record on each topic, by registry.subjects. Nothing is changed. A finding is
    a schema that is missing, one that the registry would refuse, and a subject whose rule is not
    FULL_TRANSITIVE: then a later version could break readers.
    """
    from orchestrator.codec import contracts
    from orchestrator.codec.opening import open_registry

    registry = open_registry(session.settings.registry)
    found = list(contracts.check(registry, _wanted(session.settings)))
    counts = Counter(one.finding for one in found)
    findings = [one for one in found if one.finding != "registered"]

    def as_text(console: Console) -> None:
        if findings:
            rows = [(one.finding, one.subject, one.detail) for one in findings]
            session.output.table("", ("finding", "subject", "what"), rows)
        console.print(f"{counts['registered']} of {len(found)} subjects as they should be.")

    session.output.result({"ok": not findings, "counts": counts, "subjects": found}, as_text)
    return FINDINGS if findings else 0


@command.command(epilog="Example: orchestrator schemas register")
@output_option
@click.pass_obj
def register(session: Session) -> None:
    """Register every schema of ours, each subject under the rule FULL_TRANSITIVE.

    Needed where registry.auto_register is off, that is everywhere but in dev; safe to repeat.
    """
    from orchestrator.codec import contracts
    from orchestrator.codec.opening import open_registry

    registry = open_registry(session.settings.registry)
    done = list(contracts.register(registry, _wanted(session.settings)))

    def as_text(console: Console) -> None:
        rows = [(number, one.subject) for one, number in done]
        session.output.table("", ("id", "subject"), rows)
        console.print(f"{len(done)} subjects, {contracts.RULE}.", markup=False)

    data = [
        {"subject": one.subject, "record": one.record, "id": number, "topics": one.topics}
        for one, number in done
    ]
    session.output.result({"rule": contracts.RULE, "subjects": data}, as_text)


@command.command(epilog="Example: orchestrator schemas asyncapi > asyncapi.yaml")
@click.pass_obj
def asyncapi(session: Session) -> None:
    """Print the deployment as an AsyncAPI 3.0 document, schemas included.

    Topics with their keys and retention, records, headers, and what each role reads and writes: to be
    handed to the teams that produce events or consume actions. Needs neither Kafka nor a registry.
    """
    from orchestrator.kafka.asyncapi import as_yaml, document

    click.echo(as_yaml(document(session.settings, embedded=True)), nl=False)


def _wanted(settings: Settings) -> list[Contract]:
    from orchestrator.codec.codec import SUBJECT_STRATEGIES
    from orchestrator.codec.contracts import contracts
    from orchestrator.kafka.topics import Topology

    topics = {spec.name: spec.logical for spec in Topology(settings).specs()}
    return contracts(topics, SUBJECT_STRATEGIES[settings.registry.subjects])
