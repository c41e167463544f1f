"""The engine over a simulated broker, group, disk and clock: whatever breaks when, the truth comes out.

One seed is one run of one to three workers with crashes at drawn steps, freezes beyond the session,
lost replies, lost and outdated disks, rebalances on top of each other, clocks that jump. A failing
seed is printed with the line that runs it alone; ``tests/engine/simulation`` runs any number.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from simulation.mutants import MUTANTS, planted
from simulation.runs import run
from simulation.work import DecideWork, Work

WORKS = {"toy": Work, "decide": DecideWork}
SEEDS = {"toy": 1_600, "decide": 400}


@pytest.mark.timeout(1_800)
def test_two_thousand_seeds():
    """Side by side, and without the coverage's tracer, which would triple their time."""
    with ThreadPoolExecutor() as pool:
        told = dict(zip(SEEDS, pool.map(_seeds, SEEDS), strict=True))
    print("\n".join(told.values()))
    for work, count in SEEDS.items():
        assert f"{work}: seeds 0..{count - 1}, failures 0" in told[work], told[work]


def _seeds(work: str) -> str:
    script = Path(__file__).parent / "simulation"
    asked = ["--work", work, "--count", str(SEEDS[work])]
    ran = subprocess.run(
        [sys.executable, script, *asked], capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("seed", range(5_000, 5_010))
def test_a_seed(seed, work):
    """The same as above, a few in this process."""
    run(seed, WORKS[work]())


def test_a_seed_is_a_run():
    """Everything is drawn from the seed: the same seed gives the same logs, byte for byte."""
    logs = []
    for _ in range(2):
        cluster = run(7, Work())
        logs.append(
            {
                key: [(one.timestamp, one.key, one.value, one.marker) for one in log.records]
                for key, log in cluster.broker.logs.items()
            }
        )
    assert logs[0] == logs[1]


def test_a_crash_at_every_step():
    """One worker, one short log: it dies once at each step that it takes, one run for each."""

    def alone(steps: int):
        def prepare(cluster) -> None:
            del cluster.workers[1:]
            cluster.records, cluster.to_come, cluster.exact = 12, 0, True
            cluster.broker.trouble = 0.0
            cluster.workers[0].dies_after = steps

        return prepare

    undisturbed = run(3, Work(), alone(0))
    assert undisturbed.steps > 50
    died = set()
    for number in range(1, undisturbed.steps + 1):
        cluster = run(3, Work(), alone(number))
        assert cluster.faults.crashes == 1
        died |= cluster.faults.at
    wanted = {"fenced", "replayed", "begun", "produced", "flushed", "committed", "stored"}
    assert wanted | {"assigned", "before store", "after store", "prepared", "marked"} <= died


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name.replace(" ", "-"))
def test_a_planted_bug_is_caught(mutant):
    """The simulation that never says no proves nothing: each known bug shows within some seeds."""

    def harsh(cluster) -> None:
        cluster.records, cluster.to_come, cluster.broker.trouble = 80, 10, 0.1

    with planted(mutant):
        for seed in range(mutant.seeds):
            try:
                run(seed, WORKS[mutant.work](), harsh)
            except Exception as found:  # noqa: BLE001 - however it shows
                print(f"caught at seed {seed}: {found!r:.300}")
                return
    pytest.fail(f"{mutant.name}: not caught within {mutant.seeds} seeds")


def test_a_mutant_that_fits_no_longer_is_reported():
    """When a function is rewritten, its mutants must be, too."""
    for mutant in MUTANTS:
        with planted(mutant):
            pass
