"""Run the tests of a workspace on the real stages and a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.identities import REFUSED_JOINS
from orchestrator.ids import receipt_id
from orchestrator.journeys.scenarios import (
    MESSAGE_OUTCOMES,
    MOVEMENTS,
    Expected,
    Happens,
    Lay,
    Line,
    Reports,
    Scenario,
)
from orchestrator.records import Action, Decision, Event
from orchestrator.stages.calendar import calendar_for
from orchestrator.stages.decide.scope import CustomerScope
from orchestrator.testing import expectations
from orchestrator.testing.expectations import Mismatch, Seen
from orchestrator.testing.givens import settle
from orchestrator.testing.pipeline import Pipeline
from orchestrator.testing.story import Happening, lines, tell, wall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.journeys.diagnostics import Mark
    from orchestrator.stages.calendar import Calendar
    from orchestrator.testing.harness import Output
    from orchestrator.testing.variants import Variants

SOURCE = "test"
LINES_BEFORE = 2
"""How many script lines before the failing one a failure shows."""
_TOLD = MESSAGE_OUTCOMES | MOVEMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a test expected, what came instead, and the timeline around it."""

    mark: Mark
    problem: str
    timeline: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.mark}: {self.problem}", *(f"    {one}" for one in self.timeline)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one test; ``failure`` None = it passed."""

    scenario: Scenario
    failure: Failure | None = None


def run_scenario(scenario: Scenario, variants: Variants) -> Result:
    """Run one test to its end or to its first failure.

    Raises:
        WorkspaceError: What the test lays over the workspace does not compile.
    """
    return Result(scenario=scenario, failure=_Run(scenario, variants).play())


class _Sent(NamedTuple):
    action: Action
    key: str


class _Run:
    """One test while it runs."""

    def __init__(self, scenario: Scenario, variants: Variants) -> None:
        self.scenario = scenario
        self.variants = variants
        self.catalog = variants.catalog(scenario)
        self.laid: tuple[str, ...] = ()
        self.now = scenario.script[0].at or 0
        self.pipeline = Pipeline(self.catalog, self.now, assume_accepted=scenario.sink == "accepts")
        for customer in scenario.customers:
            settle(self.pipeline, customer, self.catalog, self.now)
        self.keys: dict[str, str] = {}
        """Key value by entry id."""
        self.sent: list[_Sent] = []
        self.told: list[Happening] = []

    def play(self) -> Failure | None:
        for number, line in enumerate(self.scenario.script):
            refused = len(self.pipeline.dead_letters)
            try:
                seen = self._line(line, number)
            except LookupError as error:
                return self._failure(line, line.mark, str(error))
            letters = [
                letter
                for letter in self.pipeline.dead_letters[refused:]
                if letter.cause not in REFUSED_JOINS
            ]
            if letters:
                text = f"a record was refused, {letters[0].cause}: {letters[0].text}"
                return self._failure(line, line.mark, text)
            for check, items in (
                (expectations.compare, line.expect),
                (expectations.includes, line.includes),
            ):
                mismatch = None if items is None else check(items, seen)
                if items is not None and mismatch is not None:
                    return self._mismatch(line, items, mismatch)
        return None

    # -- one line -------------------------------------------------------------------------------

    def _line(self, line: Line, number: int) -> list[Seen]:
        """Run time to the line's instant, append its input; return all decisions on the way."""
        if line.at is not None:
            at = line.at
        elif line.after is not None:
            at = self._calendar(line.customer).add(self.now, line.after)
        else:
            at = self.now
        if at < self.now:
            raise LookupError("the line lies before the one above it; time never runs back")
        seen = self._take(self.pipeline.advance(at), line)
        self.now = at
        match line.input:
            case Happens() as happens:
                self._tell(line, happens.type + _written(happens.properties))
                event = Event(
                    event_id=happens.id or f"{self.scenario.name}:{number}",
                    type=happens.type,
                    occurred_at=at if happens.occurred_at is None else happens.occurred_at,
                    identities=dict(happens.identities),
                    source=SOURCE,
                    properties=dict(happens.properties),
                )
                outputs = self.pipeline.append(event, at, backfill=happens.backfill)
            case Reports() as reports:
                self._tell(line, f"message.{reports.status} of {reports.of}")
                outputs = self.pipeline.append(self._receipt(line, reports), at)
            case Lay(folder=folder):
                self._tell(line, f"apply {folder}")
                self.laid += (folder,)
                self.catalog = self.variants.catalog(self.scenario, self.laid)
                outputs = self.pipeline.switch(self.catalog, at)
            case None:
                outputs = []
        return seen + self._take(outputs, line)

    def _receipt(self, line: Line, reports: Reports) -> Event:
        for action, key in reversed(self.sent):
            if (
                action.step == reports.of
                and action.customer_id == line.customer
                and reports.journey in {None, action.journey}
                and reports.key in {None, key}
            ):
                return Event(
                    event_id=receipt_id(action.action_id, reports.status),
                    type=f"message.{reports.status}",
                    occurred_at=self.now,
                    identities={"customer": action.customer_id},
                    source=SOURCE,
                    properties={"action_id": action.action_id, **reports.properties},
                )
        raise LookupError(f"a receipt of step {reports.of!r}, but nothing has left it so far")

    def _take(self, outputs: list[Output], line: Line) -> list[Seen]:
        seen: list[Seen] = []
        for output in outputs:
            match output.emit.record:
                case Action(kind="send") as action:
                    self.sent.append(_Sent(action, self.keys.get(action.entry_id, "")))
                case Decision() as decision:
                    entry = decision.entry_id or ""
                    if decision.outcome == "entered":
                        self.keys[entry] = str(decision.rule_values.get("key", ""))
                    seen.append(Seen(decision, self.keys.get(entry, "")))
                    self._tell_decision(decision, line)
                case _:
                    pass
        return seen

    def _calendar(self, customer: str) -> Calendar:
        """Return the calendar of the line's customer, else of the policy."""
        state = self.pipeline.decide.states.get(customer)
        if state is None:
            return calendar_for(None, self.catalog.policy.timezone)
        return CustomerScope(customer, state, self.catalog, self.now).calendar

    # -- telling --------------------------------------------------------------------------------

    def _tell(self, line: Line, text: str) -> None:
        self.told.append(Happening(self.now, line.mark.line, line.customer, text, decided=False))

    def _tell_decision(self, decision: Decision, line: Line) -> None:
        if decision.outcome in _TOLD:
            zone = self._calendar(decision.customer_id).zone
            self.told.append(
                Happening(
                    decision.decided_at,
                    line.mark.line,
                    decision.customer_id,
                    tell(decision, zone),
                    decided=True,
                )
            )

    def _mismatch(self, line: Line, items: tuple[Expected, ...], mismatch: Mismatch) -> Failure:
        zone = self._calendar(line.customer).zone
        instead = tell(mismatch.instead.decision, zone) if mismatch.instead else ""
        if mismatch.item is None:
            return self._failure(line, line.mark, f"not expected: {instead}")
        wanted = items[mismatch.item]
        fields = {
            key: wall(value, zone) if key in {"at", "until"} and isinstance(value, int) else value
            for key, value in wanted.fields.items()
        }
        problem = f"expected {wanted}{_written(fields)}"
        problem += f"; instead: {instead}" if instead else "; it did not happen"
        return self._failure(line, wanted.mark, problem)

    def _failure(self, line: Line, mark: Mark, problem: str) -> Failure:
        numbers = [one.mark.line for one in self.scenario.script]
        place = numbers.index(line.mark.line)
        around = set(numbers[max(place - LINES_BEFORE, 0) : place + 1])
        shown = [one for one in self.told if one.line in around]
        zone = self._calendar(line.customer).zone
        timeline = lines(shown, zone, len({one.customer for one in self.told}))
        if len(shown) < len(self.told):
            timeline.insert(0, "...")
        return Failure(mark=mark, problem=problem, timeline=(*timeline, f"(times in {zone})"))


def _written(values: Mapping[str, object]) -> str:
    """Return values as they are written in a test."""
    return f" {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}" if values else ""
