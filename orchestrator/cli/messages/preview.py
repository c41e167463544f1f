"""Render a message for one customer, as its sink would."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.cli.customer._reader import Found
    from orchestrator.cli.session import Session
    from orchestrator.records import Action, Definition
    from orchestrator.settings import Settings
    from orchestrator.stages.catalog import Catalog, Journey, Message
    from orchestrator.stages.decide.scope import CustomerScope
    from orchestrator.stages.decide.state import Entry

    Finder = Callable[[str], Definition | None]

FINDINGS: Final = 1


@click.command(
    epilog="Example: orchestrator messages preview why-acme --customer email:anna@example.com"
)
@click.argument("message")
@click.option(
    "--customer", required=True, help="A customer id, or an identity kind:value.", metavar="ID"
)
@click.option("--channel", help="Only this channel; else every one that it has content for.")
@click.option(
    "--workspace",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the message from there instead of the catalog in force: before it is applied.",
)
@output_option
@click.pass_obj
def command(
    session: Session, message: str, customer: str, channel: str | None, workspace: Path | None
) -> int:
    """Render MESSAGE with what is known of a customer now, as the sink would; nothing is sent.

    entry.NAME and latest.NAME come from the customer's newest live entry in a journey that sends the
    message. Exit 1 if a template cannot be rendered: the sink would report `failed`, reason
    template.
    """
    from orchestrator.cli.customer._reader import CustomerReader
    from orchestrator.errors import UsageError
    from orchestrator.expressions.suggest import did_you_mean

    settings = session.settings
    catalog, find = _catalog(settings, workspace)
    chosen = catalog.messages.get(message)
    if chosen is None:
        raise UsageError(f"no message {message!r}; {did_you_mean(message, catalog.messages)}")
    if channel is not None and channel not in chosen.content:
        known = ", ".join(chosen.content)
        raise UsageError(f"{message} has no content for {channel!r}; it has: {known}")
    found = CustomerReader(settings).find(customer)
    entry = _entry(found, catalog, message)
    channels = [channel] if channel is not None else list(chosen.content)
    previews = [preview(found, entry, catalog, chosen, each, find) for each in channels]
    session.output.result(
        {
            "message": message,
            "customer": found.customer_id,
            "entry": None if entry is None else {"journey": entry.journey, "id": entry.id},
            "channels": previews,
        },
        lambda console: _show(console, message, found, entry, previews),
    )
    return FINDINGS if any(one["error"] for one in previews) else 0


def preview(
    found: Found,
    entry: Entry | None,
    catalog: Catalog,
    message: Message,
    channel: str,
    find: Finder,
) -> dict[str, Any]:
    """Return the rendered fields, or why there are none, and what was undefined."""
    from orchestrator.links import Links
    from orchestrator.sinks.render import Renderer, TemplateFailed
    from orchestrator.stages.decide.content import content_of
    from orchestrator.stages.decide.scope import CustomerScope

    scope = CustomerScope(found.customer_id, found.state, catalog, int(time.time() * 1000))
    scope.current_entry = entry
    content = content_of(scope, message, channel)
    action = _action(found.customer_id, message, channel, content)
    fields: dict[str, str] = {}
    error = ""
    try:
        fields = Renderer(find, Links("https://preview.invalid", ["preview"])).render(action)
    except TemplateFailed as failed:
        error = str(failed)
    return {
        "channel": channel,
        "address": _address(scope, catalog, channel),
        "fields": fields,
        "undefined": sorted(set(message.content[channel]) - set(content)),
        "error": error,
    }


def _action(customer_id: str, message: Message, channel: str, content: Any) -> Action:
    """Return an action with all that rendering reads; the rest says nothing."""
    from orchestrator.records import Action

    return Action(
        action_id="preview",
        customer_id=customer_id,
        channel=channel,
        message=message.name,
        template=message.definition,
        content=content,
        journey="",
        journey_version="",
        entry_id="",
        step="",
        decision_id="",
        category=message.category,
        priority=0,
        decided_at=0,
        caused_by="",
    )


def _address(scope: CustomerScope, catalog: Catalog, channel: str) -> str | None:
    declared = catalog.policy.channels.get(channel)
    if declared is None or declared.address is None:
        return None
    value = declared.address(scope)
    return None if value is None else str(value)


def _entry(found: Found, catalog: Catalog, message: str) -> Entry | None:
    for entry in reversed(found.state.entries):
        journey = catalog.journey(entry.journey, entry.version) or catalog.journeys.get(
            entry.journey
        )
        if journey is not None and message in _sent_by(journey):
            return entry
    return None


def _sent_by(journey: Journey) -> set[str]:
    from orchestrator.stages.catalog import Choose, Send

    sent: set[str] = set()
    for step in journey.steps.values():
        if isinstance(step.do, Send):
            sent.add(step.do.message)
        elif isinstance(step.do, Choose):
            sent.update(option.send.message for option in step.do.among)
    return sent


def _catalog(settings: Settings, workspace: Path | None) -> tuple[Catalog, Finder]:
    from orchestrator.cli._catalog import catalog_in_force
    from orchestrator.journeys import load_workspace

    if workspace is not None:
        loaded = load_workspace(workspace)
        return loaded.catalog, {one.hash: one for one in loaded.definitions}.get
    return catalog_in_force(settings)


def _show(
    console: Console,
    message: str,
    found: Found,
    entry: Entry | None,
    previews: list[dict[str, Any]],
) -> None:
    where = "no live entry" if entry is None else f"entry in {entry.journey}, step {entry.step}"
    console.print(f"{message} for {found.customer_id} ({where})", style="bold", markup=False)
    for one in previews:
        to = f" to {one['address']}" if one["address"] else ""
        console.print(f"\n{one['channel']}{to}", style="cyan", markup=False)
        for name, text in one["fields"].items():
            first, *rest = text.rstrip("\n").split("\n")
            console.print(f"{name:>10}  {first}", markup=False)
            for line in rest:
                console.print(f"{'':>10}  {line}", markup=False)
        if one["error"]:
            console.print(f"    cannot be rendered: {one['error']}", style="red", markup=False)
        if one["undefined"]:
            console.print(f"    undefined: {', '.join(one['undefined'])}", markup=False)
