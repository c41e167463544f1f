"""The catalogs that a workspace's tests run on: some journeys only, other policy keys, folders laid over."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.errors import WorkspaceError
from orchestrator.journeys import compile_catalog, load_workspace
from orchestrator.stages.catalog import Choose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.journeys.scenarios import Scenario
    from orchestrator.journeys.workspace import Workspace
    from orchestrator.records import Definition
    from orchestrator.stages.catalog import Catalog, Journey, Step

_POLICY = re.compile(r"^policy/policy:\d+:\d+: ")
"""Where a finding stands in a policy that no file holds."""


class Variants:
    """Compiles each variant of a workspace once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._workspaces: dict[tuple[str, ...], Workspace] = {}
        self._catalogs: dict[tuple[tuple[str, ...], bytes], Catalog] = {}
        self._definitions: dict[str, Definition] = {}

    def workspace(self, laid: tuple[str, ...] = ()) -> Workspace:
        """Return the workspace with the folders ``laid`` over it (relative to it).

        Raises:
            WorkspaceError: It does not compile.
        """
        found = self._workspaces.get(laid)
        if found is None:
            found = load_workspace(self.folder, *(self.folder / folder for folder in laid))
            self._workspaces[laid] = found
        return found

    def catalog(self, scenario: Scenario, laid: tuple[str, ...] = ()) -> Catalog:
        """Return the catalog of a test, after the folders ``laid`` over the workspace so far.

        Raises:
            WorkspaceError: The folders or the test's policy do not compile.
        """
        asked = msgspec.json.encode([scenario.journeys, scenario.policy], order="sorted")
        catalog = self._catalogs.get((laid, asked))
        if catalog is None:
            catalog = self._compile(scenario, laid)
            self._catalogs[laid, asked] = catalog
        return _for_test(catalog, scenario)

    def _compile(self, scenario: Scenario, laid: tuple[str, ...]) -> Catalog:
        workspace = self.workspace(laid)
        definitions = {f"{one.kind}/{one.name}": one for one in workspace.definitions}
        self._definitions |= {one.hash: one for one in workspace.definitions}
        if scenario.journeys is None and not scenario.policy:
            return compile_catalog(definitions, {}, self._definitions.get)
        if scenario.journeys is not None:
            definitions = {
                key: one
                for key, one in definitions.items()
                if one.kind != "journey" or one.name in scenario.journeys
            }
        if scenario.policy:
            definitions |= {
                key: _with_keys(one, scenario.policy)
                for key, one in definitions.items()
                if one.kind == "policy"
            }
        try:
            return compile_catalog(definitions, {}, self._definitions.get)
        except WorkspaceError as error:
            raise WorkspaceError(
                [f"{scenario.mark}: {_POLICY.sub('policy: ', text)}" for text in error.diagnostics]
            ) from error


def _with_keys(policy: Definition, keys: Any) -> Definition:
    source = msgspec.json.decode(policy.source) | dict(keys)
    return msgspec.structs.replace(
        policy, source=msgspec.json.encode(source, order="sorted").decode(), hash=""
    )


def _for_test(catalog: Catalog, scenario: Scenario) -> Catalog:
    """Take out what would make a test a matter of luck, unless the test itself asks for it."""
    policy = catalog.policy
    if "spread" not in scenario.policy:
        policy = replace(policy, spread_ms=0)
    if "holdout" not in scenario.policy and not any(one.holdout for one in scenario.customers):
        policy = replace(policy, holdout=None)
    given = {name for customer in scenario.customers for name in customer.profile}
    traits = {
        name: replace(trait, kind="plain", expression=None)
        if trait.kind == "expr" and name in given
        else trait
        for name, trait in catalog.traits.items()
    }
    journeys = catalog.journeys
    if scenario.choose:
        journeys = {name: _chosen(one, scenario.choose) for name, one in journeys.items()}
    return replace(catalog, policy=policy, traits=traits, journeys=journeys)


def _chosen(journey: Journey, choices: Mapping[str, str]) -> Journey:
    """Put the wanted option of each choice first: without a learner, the first eligible one is taken."""

    def settled(step: Step) -> Step:
        if not isinstance(step.do, Choose) or step.do.decision not in choices:
            return step
        wanted = choices[step.do.decision]
        among = sorted(step.do.among, key=lambda option: option.name != wanted)
        return replace(step, do=replace(step.do, among=tuple(among)))

    return replace(journey, steps={name: settled(step) for name, step in journey.steps.items()})
