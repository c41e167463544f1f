"""How verbs speak: tables and words for people, one JSON document on stdout for programs.

A verb is decorated with ``output_option`` and ends with one call of ``Output.result``. Progress and
remarks go to stderr, so that stdout can always be piped.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

F = TypeVar("F", bound="Callable[..., Any]")


class Output:
    """Where results and remarks go. Colours follow the terminal and ``NO_COLOR``."""

    def __init__(self) -> None:
        self.json = False

    @cached_property
    def console(self) -> Console:
        """Results for people, on stdout."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    @cached_property
    def remarks(self) -> Console:
        """Progress and remarks, on stderr; silent under ``--output json``."""
        from rich.console import Console

        return Console(stderr=True, quiet=self.json, highlight=False, soft_wrap=True)

    def result(self, data: Any, show: Callable[[Console], None]) -> None:
        """Write the verb's one result: ``data`` as JSON, or what ``show`` prints."""
        if self.json:
            import msgspec

            click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2))
        else:
            show(self.console)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table for people; cells are plain text, never markup."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", title_style="bold")
        for column in columns:
            # A name cut short is no name: rather a second line.
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        self.console.print(table)


def output_option(verb: F) -> F:
    """Add ``--output text|json`` to a verb; the choice lands in ``session.output.json``."""

    def choose(context: click.Context, _: click.Parameter, value: str) -> None:
        context.obj.output.json = value == "json"

    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Words for people, or one JSON document.",
    )(verb)
