"""The semantics of journeys, told in the product's own tests: one test id for each scenario.

Every folder beside this file, and every example under ``deploy/``, is a workspace with ``tests/``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from orchestrator.journeys.loader import load
from orchestrator.journeys.nodes import plain
from orchestrator.journeys.scenario_checks import check_scenarios
from orchestrator.journeys.scenario_reader import read_scenarios
from orchestrator.testing.scenarios import run_scenario
from orchestrator.testing.variants import Variants

HERE = Path(__file__).parent
DEPLOY = HERE.parent.parent / "deploy"
EXAMPLES = sorted(
    path.parent for each in ("*", "examples/*") for path in DEPLOY.glob(f"{each}/profile.yaml")
)
WORKSPACES = [*sorted(path.parent for path in HERE.glob("*/profile.yaml")), *EXAMPLES]


def _primary(folder):
    profile = folder / "profile.yaml"
    node, _ = load(profile.read_text(), str(profile))
    return plain(node)["identities"]["primary"]


def _told(folder):
    for path in sorted(folder.glob("tests/*.yaml")):
        node, found = load(path.read_text(), str(path))
        tests, more = read_scenarios(node, _primary(folder))
        assert not [*found, *more], "\n".join(map(str, [*found, *more]))
        for test in tests:
            yield pytest.param(folder, test, id=f"{folder.name}/{path.stem}: {test.name}")


@cache
def _variants(folder):
    return Variants(folder)


@pytest.mark.parametrize("folder", WORKSPACES, ids=lambda folder: folder.name)
def test_compiles_and_is_well_named(folder):
    """The workspace has no errors, and its tests name nothing that it does not have."""
    variants = _variants(folder)
    scenarios = [param.values[1] for param in _told(folder)]
    assert scenarios
    assert not check_scenarios(scenarios, variants.workspace().catalog)


@pytest.mark.parametrize(
    ("folder", "scenario"), [param for folder in WORKSPACES for param in _told(folder)]
)
def test_scenario(folder, scenario):
    """What the scenario's name says."""
    result = run_scenario(scenario, _variants(folder))
    if result.failure:
        pytest.fail(str(result.failure), pytrace=False)


def test_examples_name_their_schemas():
    """The first line of every example file leads an editor to a schema that exists."""
    for folder in EXAMPLES:
        for path in folder.glob("**/*.yaml"):
            first = path.read_text().splitlines()[0]
            head, _, schema = first.partition("$schema=")
            assert head == "# yaml-language-server: ", path
            assert (path.parent / schema).resolve().is_file(), path
