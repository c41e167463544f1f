"""Faults, drawn by the commit, inside a running load: nothing lost, doubled or different.

The long run is ``./deploy/dev chaos --trials N``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import faults_product
from campaign import Campaign
from faults import FAULTS, SLOW

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(1_800)]
TRIALS = 5
BUDGET_S = 300.0
"""No trial begins later: on a busy machine there are fewer, and the last line says how many."""


def commit_seed() -> int:
    """Return a number that is this commit's; 0 outside of a checkout."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return int(found.stdout.strip()[:8] or "0", 16)


def judged(campaign: Campaign, trials: int, capsys) -> None:
    """Run trials, say how they went, and hold them to it."""
    campaign.run(trials, time.monotonic() + BUDGET_S)
    with capsys.disabled():
        sys.stdout.write(f"\nchaos, seed {campaign.seed}:\n{campaign.tally.summary()}\n")
    assert campaign.tally.violations == []
    assert campaign.tally.trials.total() + campaign.tally.missed.total() > 0


def test_five_faults(capsys):
    """What was decided equals an undisturbed replay; RocksDB equals the changelog."""
    judged(Campaign(commit_seed(), sorted(FAULTS.keys() - SLOW)), TRIALS, capsys)


def test_faults_of_the_product(capsys):
    """The real stages and sinks: caps and consent by what left alone, each action with one outcome."""
    quick = sorted(name for name in faults_product.FAULTS if not name.startswith("changelog"))
    judged(Campaign(commit_seed(), quick, whole=True), 2, capsys)
