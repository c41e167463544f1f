"""A group of verbs that imports a verb only when it is called.

Every module of the group's package is a verb and exposes ``command``; the first line of its
docstring is its help, read without importing it, so that ``--help`` stays quick.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_VERBS: Final = frozenset({"lazy", "output", "session"})


class LazyGroup(click.Group):
    """The verbs of one package; ``_`` in a module's name is ``-`` on the command line."""

    def __init__(self, package: str, paths: Sequence[str], **attributes: object) -> None:
        super().__init__(no_args_is_help=True, **attributes)  # type: ignore[arg-type]
        self._package = package
        self._paths = list(paths)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs, sorted."""
        del ctx
        return sorted(
            module.name.replace("_", "-")
            for module in pkgutil.iter_modules(self._paths)
            if not module.name.startswith("_") and module.name not in NOT_VERBS
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a misspelt one gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near:
                error.message += f" Did you mean {near[0]!r}?"
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with their help, importing none."""
        rows = [(name, self._help_of(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _help_of(self, name: str) -> str:
        stem = name.replace("-", "_")
        for folder in self._paths:
            for file in (Path(folder, f"{stem}.py"), Path(folder, stem, "__init__.py")):
                if file.is_file():
                    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                    return text.partition("\n")[0].replace("``", "")
        return ""
