"""What one call of the command line shares among its verbs: settings, output."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.cli.output import Output

if TYPE_CHECKING:
    from orchestrator.settings import Settings


class Session:
    """The click context's ``obj``; verbs take it by ``@click.pass_obj``."""

    def __init__(self) -> None:
        self.settings_file: str | None = None
        self.flags: dict[str, Any] = {}
        self.output = Output()

    @cached_property
    def settings(self) -> Settings:
        """The settings, read at first use, so that offline verbs need none; logging is set up."""
        from orchestrator.observability import configure_logging
        from orchestrator.settings import load_settings

        settings = load_settings(self.settings_file, flags=self.flags)
        configure_logging(settings)
        return settings

    def set(self, name: str, value: Any) -> None:
        """Lay a verb's own flag over the settings, unless it was not given (None)."""
        if value is not None:
            self.flags[name] = value
            self.__dict__.pop("settings", None)
