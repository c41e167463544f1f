"""How the demo speaks: for people line by line, for programs one JSON document a line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
import msgspec
from rich.text import Text

from orchestrator.explain import passed_over_by, sentence, skipped

if TYPE_CHECKING:
    from orchestrator.cli.output import Output
    from orchestrator.records import Decision, Event

STYLES = {
    "event": "cyan",
    "decision": "bold",
    "reason": "yellow",
    "delivery": "green",
    "note": "dim",
}
WIDTH = 9


class Narrator:
    """Prints what happens, at its own instants, in the customer's zone."""

    def __init__(self, output: Output, zone: str = "Europe/Berlin") -> None:
        self._output = output
        self._zone = ZoneInfo(zone)

    def scene(self, title: str, at: int | None = None) -> None:
        """Begin a part of the story."""
        if self._output.json:
            self._json(kind="scene", title=title, at=at)
            return
        when = f"{self._moment(at)}  " if at is not None else ""
        self._output.console.print()
        self._output.console.print(Text.assemble((when, "magenta"), (title, "bold")))

    def event(self, event: Event) -> None:
        """Say what came in."""
        shown = {k: v for k, v in event.properties.items() if k != "action_id"}
        details = ", ".join(f"{name}={value}" for name, value in sorted(shown.items()))
        text = f"{event.type}  from {event.source}" + (f"  ({details})" if details else "")
        self._line("event", event.occurred_at, text, event_id=event.event_id, type=event.type)

    def decision(self, decision: Decision) -> None:
        """Say what was decided, and why."""
        text = sentence(decision, self._zone)
        kind = "decision" if decision.outcome in {"sent", "entered"} else "reason"
        self._line(kind, decision.decided_at, text, **msgspec.to_builtins(decision))
        for message in skipped(decision):
            text = f"{message}: cancelled by {passed_over_by(decision)}"
            self._line("reason", decision.decided_at, text)

    def delivery(self, at: int, text: str) -> None:
        """Say what reached the outside world."""
        self._line("delivery", at, text)

    def note(self, text: str) -> None:
        """Explain."""
        if self._output.json:
            self._json(kind="note", text=text)
        else:
            self._output.console.print(Text(f"    {text}", style=STYLES["note"]))

    def verbatim(self, text: str) -> None:
        """Show what another command printed."""
        if self._output.json:
            self._json(kind="command", text=text)
        else:
            for line in text.splitlines():
                self._output.console.print(Text(f"    {line}"))

    def _line(self, kind: str, at: int, text: str, **more: object) -> None:
        if self._output.json:
            self._json(kind=kind, at=at, text=text, **more)
            return
        label = kind if kind != "reason" else "decision"
        self._output.console.print(
            Text.assemble(
                (f"    {self._moment(at)}  ", "dim"),
                (f"{label:<{WIDTH}} ", STYLES[kind]),
                text,
            )
        )

    def _moment(self, at: int) -> str:
        return datetime.fromtimestamp(at / 1000, self._zone).strftime("%a %d %b %H:%M")

    def _json(self, **data: object) -> None:
        click.echo(msgspec.json.encode(data))
