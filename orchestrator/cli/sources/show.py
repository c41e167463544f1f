"""Print a mapping that comes with the product, to be copied into a workspace and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from orchestrator.cli.session import Session


@click.command()
@click.argument("provider", required=False)
@output_option
@click.pass_obj
def command(session: Session, provider: str | None) -> None:
    """Print the shipped mapping of PROVIDER's webhooks; without PROVIDER, which there are.

    It serves as source PROVIDER as long as the workspace has none of that name.

    \b
    orchestrator sources show
    orchestrator sources show stripe > sources/stripe.yaml
    """  # noqa: D301 - click's mark for lines that stay lines
    from orchestrator.sources.webhooks import defaults

    if provider is None:
        names = defaults.names()
        session.output.result({"providers": names}, lambda console: console.print("\n".join(names)))
        return
    text = defaults.text(provider)
    if text is None:
        known = ", ".join(defaults.names())
        raise click.UsageError(f"no mapping for {provider!r} comes with us; there are {known}")
    session.output.result(
        {"provider": provider, "mapping": text},
        lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True, end=""),
    )
