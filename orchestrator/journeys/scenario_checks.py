"""The tests of a workspace, loaded and checked against its definitions."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import WorkspaceError
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.loader import decode, load
from orchestrator.journeys.scenario_reader import read_scenarios
from orchestrator.journeys.scenarios import MOVEMENTS, Expected, Happens, Lay, Reports, Scenario
from orchestrator.journeys.world import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.stages.catalog import Catalog


def load_scenarios(folder: Path, catalog: Catalog) -> tuple[Scenario, ...]:
    """Return the tests in ``folder/tests``, in the order of files and lines.

    Raises:
        WorkspaceError: A test cannot run as it stands; carries every finding as text.
    """
    scenarios: list[Scenario] = []
    found: list[Diagnostic] = []
    for path in sorted((folder / "tests").glob("*.yaml")):
        text, problems = decode(path.read_bytes(), str(path))
        found += problems
        if text is None:
            continue
        node, problems = load(text, str(path))
        found += problems
        if node is not None:
            tests, problems = read_scenarios(node, catalog.identities.primary)
            found += problems
            scenarios += tests
    found += check_scenarios(scenarios, catalog)
    if any(not diagnostic.warning for diagnostic in found):
        raise WorkspaceError([str(diagnostic) for diagnostic in found])
    return tuple(scenarios)


def check_scenarios(scenarios: Iterable[Scenario], catalog: Catalog) -> list[Diagnostic]:
    """Return what tests name that the workspace does not have.

    A test that lays folders over the workspace may name what they bring.
    """
    checks = _Checks(catalog)
    for scenario in scenarios:
        checks.scenario(scenario)
    return checks.found


class _Checks:
    def __init__(self, catalog: Catalog) -> None:
        self._journeys = frozenset(catalog.journeys)
        self._messages = frozenset(catalog.messages)
        self._traits = frozenset(catalog.traits)
        self._events = None if catalog.events is None else frozenset({*catalog.events, *BUILT_IN})
        self._steps = frozenset(
            step for journey in catalog.journeys.values() for step in journey.steps
        )
        self._names: dict[tuple[str, str], Mark] = {}
        self.found: list[Diagnostic] = []

    def scenario(self, scenario: Scenario) -> None:
        first = self._names.setdefault((scenario.mark.file, scenario.name), scenario.mark)
        if first is not scenario.mark:
            text = f"a test of this name begins in line {first.line}"
            self.found.append(Diagnostic(scenario.mark, "duplicate-name", text))
        for customer in scenario.customers:
            for trait in customer.profile:
                self._known(scenario.mark, "unknown-trait", trait, self._traits)
        if any(isinstance(line.input, Lay) for line in scenario.script):
            return
        for journey in scenario.journeys or ():
            self._known(scenario.mark, "unknown-journey", journey, self._journeys)
        for line in scenario.script:
            if isinstance(line.input, Reports):
                self._known(line.input.mark, "unknown-step", line.input.of, self._steps)
            elif isinstance(line.input, Happens) and self._events is not None:
                self._known(line.input.mark, "unknown-event", line.input.type, self._events)
            for expected in (*(line.expect or ()), *(line.includes or ())):
                self._expected(expected)

    def _expected(self, expected: Expected) -> None:
        if not expected.outcome:
            return  # that it is missing has been said
        if expected.outcome in MOVEMENTS:
            self._known(expected.mark, "unknown-journey", expected.subject, self._journeys)
        else:
            self._known(expected.mark, "unknown-message", expected.subject, self._messages)
        journey = expected.fields.get("journey")
        if isinstance(journey, str):
            self._known(expected.mark, "unknown-journey", journey, self._journeys)

    def _known(self, mark: Mark, name: str, word: str, words: frozenset[str]) -> None:
        if word not in words:
            near = difflib.get_close_matches(word, sorted(words), n=1)
            remedy = f"did you mean {near[0]!r}?" if near else ""
            self.found.append(Diagnostic(mark, name, f"{word!r} is not in this workspace", remedy))
