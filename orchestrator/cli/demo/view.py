"""What the live demo shows: counts of what is decided and why, and lines to read; three ways.

``Screen`` repaints a terminal, ``Lines`` prints a block now and then, ``Json`` a line a decision.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, Self
from zoneinfo import ZoneInfo

import click
import msgspec
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.explain import REASONS_IN_WORDS, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from orchestrator.cli.output import Output
    from orchestrator.records import Decision

ZONE: Final = ZoneInfo("Europe/Berlin")
REPAINT_S: Final = 0.5
BLOCK_S: Final = 5.0
"""Without a terminal: between two blocks of lines."""
SAMPLES: Final = 6
FURNITURE: Final = 12
"""Lines of a screen that are neither counts nor samples."""
NOTES: Final = 3
OUTCOME_STYLES: Final = {"sent": "green", "entered": "cyan", "exited": "cyan", "advanced": "cyan"}


class Figures(msgspec.Struct):
    """How far the demo is."""

    seconds: float
    people: int
    told: int
    """Events that went in."""
    mails: int
    """E-mails that the mail server has."""


class View(Protocol):
    """Whoever looks. Called from one thread."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def opened(self, addresses: Mapping[str, str]) -> None:
        """Everything runs, at these addresses."""
        ...

    def note(self, text: str) -> None:
        """Something about the demo itself."""
        ...

    def decision(self, decision: Decision) -> None:
        """A decision has been made."""
        ...

    def turn(self, figures: Figures, *, last: bool = False) -> None:
        """Time to show; called some times a second, and once at the end."""
        ...


def view_for(output: Output) -> View:
    """Return the view that suits where the output goes."""
    if output.json:
        return Json()
    if output.console.is_terminal:
        return Screen(output.console)
    return Lines(output.console)


class Tally:
    """Counts by outcome and reason, and the newest decision of each."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.total = 0

    def add(self, decision: Decision) -> tuple[str, str]:
        """Count one; return its kind."""
        kind = (decision.outcome, decision.reason or "")
        self.counts[kind] += 1
        self.total += 1
        return kind

    def table(self, rows: int) -> Table:
        """Return the counts, sends first, then what is most frequent."""
        table = Table("", "decided", "because", box=None, padding=(0, 2), header_style="dim")
        table.columns[0].justify = "right"
        ranked = sorted(self.counts.items(), key=lambda one: (one[0][0] != "sent", -one[1]))
        for (outcome, reason), number in ranked[:rows]:
            style = OUTCOME_STYLES.get(outcome, "yellow")
            why = REASONS_IN_WORDS.get(reason, reason)
            table.add_row(f"{number:,}", Text(outcome.replace("_", " "), style), why)
        if len(ranked) > rows:
            rest = sum(number for _, number in ranked[rows:])
            table.add_row(f"{rest:,}", Text("others", "dim"), "")
        return table


def line(decision: Decision) -> Text:
    """Return one decision as one line."""
    at = datetime.fromtimestamp(decision.decided_at / 1000, ZONE).strftime("%H:%M:%S")
    style = OUTCOME_STYLES.get(decision.outcome, "yellow")
    who = f"{decision.customer_id[:12]:<13}"
    return Text.assemble((f"{at} ", "dim"), who, (sentence(decision, ZONE), style))


def summary(figures: Figures, total: int) -> str:
    """Return the figures in words."""
    return (
        f"{figures.seconds:.0f} s   {figures.people} customers about   {figures.told:,} events in   "
        f"{total:,} decisions   {figures.mails:,} e-mails out"
    )


class Screen:
    """Repaints the terminal twice a second; what was shown last stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._tally = Tally()
        self._lines: deque[Text] = deque(maxlen=max(4, console.height // 3))
        self._shown: Counter[tuple[str, str]] = Counter()
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._addresses: Mapping[str, str] = {}
        self._painted = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def opened(self, addresses: Mapping[str, str]) -> None:
        """Keep the addresses in sight, and take the screen."""
        self._addresses = addresses
        self._live.start()

    def note(self, text: str) -> None:
        """Keep the newest few in sight."""
        if self._live.is_started:
            self._notes.append(text)
        else:
            self._console.print(text, markup=False)

    def decision(self, decision: Decision) -> None:
        """Count it; it becomes a line if its kind has not just had one."""
        kind = self._tally.add(decision)
        if not self._shown[kind]:
            self._lines.append(line(decision))
        self._shown[kind] += 1

    def turn(self, figures: Figures, *, last: bool = False) -> None:
        """Repaint."""
        if not last and time.monotonic() - self._painted < REPAINT_S:
            return
        self._painted = time.monotonic()
        self._shown.clear()
        self._live.update(Group(*self._parts(figures)), refresh=True)

    def _parts(self, figures: Figures) -> list[RenderableType]:
        lines = self._lines.maxlen or 0
        rows = max(4, self._console.height - lines - FURNITURE)
        shown = {k: self._addresses[k] for k in ("collector", "worker", "kafka")}
        where = "   ".join(f"{name} {at}" for name, at in shown.items())
        return [
            Text(summary(figures, self._tally.total), "bold"),
            Text(where, "dim", overflow="ellipsis", no_wrap=True),
            Text(),
            self._tally.table(rows),
            Text(),
            *(_cut(one) for one in self._lines),
            Text(),
            *(Text(note, "magenta") for note in self._notes),
            Text("Ctrl-C stops", "dim"),
        ]


class Lines:
    """Prints a block every few seconds: the figures, and one line of each kind of decision."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._fresh: dict[tuple[str, str], Decision] = {}
        self._printed = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def opened(self, addresses: Mapping[str, str]) -> None:
        """Print them."""
        self._printed = time.monotonic()
        for name, at in addresses.items():
            self._console.print(f"{name:>10}  {at}", markup=False)

    def note(self, text: str) -> None:
        """Print it."""
        self._console.print(text, markup=False)

    def decision(self, decision: Decision) -> None:
        """Count it; the newest of each kind is printed."""
        kind = self._tally.add(decision)
        self._fresh.pop(kind, None)
        self._fresh[kind] = decision

    def turn(self, figures: Figures, *, last: bool = False) -> None:
        """Print a block if it is time."""
        if not last and time.monotonic() - self._printed < BLOCK_S:
            return
        self._printed = time.monotonic()
        self._console.print()
        self._console.print(Text(summary(figures, self._tally.total), "bold"))
        if last:
            self._console.print(self._tally.table(len(self._tally.counts)))
            return
        # The rarest kinds first: a hundred sends look alike.
        rare = sorted(self._fresh.items(), key=lambda one: self._tally.counts[one[0]])[:SAMPLES]
        for decision in sorted((one for _, one in rare), key=lambda one: one.decided_at):
            self._console.print(Text("  ").append_text(line(decision)))
        self._fresh.clear()


class Json:
    """For scripts: one line with the addresses, then one line a decision; remarks go to stderr."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def opened(self, addresses: Mapping[str, str]) -> None:
        """Print them as the first line."""
        self._print(addresses)

    def note(self, text: str) -> None:
        """Say it on stderr."""
        click.echo(text, err=True)

    def decision(self, decision: Decision) -> None:
        """Print it."""
        self._print(decision)

    def turn(self, figures: Figures, *, last: bool = False) -> None:
        """Let the lines out."""
        del figures, last
        sys.stdout.flush()

    def _print(self, data: object) -> None:
        click.echo(msgspec.json.encode(data))


def _cut(text: Text) -> Text:
    text = text.copy()
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
