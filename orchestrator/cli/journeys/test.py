"""Run a workspace's own tests on the real stages and a virtual clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import FINDINGS
from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.testing.scenarios import Result


@click.command(epilog="Example: orchestrator journeys test deploy/example")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def command(session: Session, folder: Path) -> int:
    """Run the tests of the workspace in DIR (default: the current folder); exit 1 if one fails.

    A failure shows what was expected, what came instead, and the timeline around it.
    """
    from orchestrator.errors import UsageError
    from orchestrator.journeys.scenario_checks import load_scenarios
    from orchestrator.testing.scenarios import run_scenario
    from orchestrator.testing.variants import Variants

    began = time.perf_counter()
    variants = Variants(folder)
    scenarios = load_scenarios(folder, variants.workspace().catalog)
    if not scenarios:
        raise UsageError(f"{folder}: no tests; write the first one in {folder / 'tests'}/NAME.yaml")
    results = [run_scenario(scenario, variants) for scenario in scenarios]
    seconds = time.perf_counter() - began
    failed = [result for result in results if result.failure]
    session.output.result(
        {
            "tests": len(results),
            "failed": len(failed),
            "seconds": round(seconds, 3),
            "results": [_data(result) for result in results],
        },
        lambda console: _show(console, results, seconds),
    )
    return FINDINGS if failed else 0


def _data(result: Result) -> dict[str, object]:
    place = result.scenario.mark
    told: dict[str, object] = {
        "name": result.scenario.name,
        "file": place.file,
        "line": place.line,
        "passed": result.failure is None,
    }
    if result.failure:
        told["failure"] = {
            "line": result.failure.mark.line,
            "column": result.failure.mark.column,
            "problem": result.failure.problem,
            "timeline": list(result.failure.timeline),
        }
    return told


def _show(console: Console, results: list[Result], seconds: float) -> None:
    failed = 0
    for result in results:
        if result.failure:
            failed += 1
            console.print(f"FAILED  {result.scenario.name}", style="red", markup=False)
            console.print(f"{result.failure}\n", markup=False)
    passed = len(results) - failed
    words = f"{passed} passed" if not failed else f"{failed} failed, {passed} passed"
    console.print(f"{words} in {seconds:.1f} s", style="red" if failed else "green", markup=False)
