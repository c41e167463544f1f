# ruff: noqa: E402 - neighbours are importable once their folders are known
"""Trials, one fault each, in series: a series is one deployment with its own topics and one verdict.

``./deploy/dev chaos --trials N --seed S`` runs it alone.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import faults
import faults_product
import product
import verdict
from deployment import Deployment
from tally import Tally

from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry

SERIES = 25
"""Trials between two verdicts: what is compared grows with the log."""
BUILDING = threading.Lock()
"""msgspec reads a struct's annotations at its first use, and crashes if two threads do so at once."""
RATE = 50
"""Events a second: faults, not speed, are the point."""


def commit() -> str:
    """Return the commit that is checked out; empty outside of a checkout."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


class Campaign:
    """See the module docstring."""

    def __init__(
        self,
        seed: int,
        names: list[str] | None = None,
        tally: Tally | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """``whole``: the product's own stages and sinks instead of the toys."""
        self.seed = seed
        self.tally = tally or Tally()
        self._random = random.Random(seed)
        self._faults = faults_product.FAULTS if whole else faults.FAULTS
        self._deploy = product.Product if whole else Deployment
        self._settle = product.settle if whole else verdict.settle
        self._rate = product.RATE if whole else RATE
        self._names = names or list(self._faults)

    def run(self, trials: int, until: float = float("inf"), lanes: int = 1) -> None:
        """Run so many trials, or as many as begin before ``until`` (monotonic).

        In several ``lanes`` series run beside one another on one broker, which then stays whole.
        """
        if lanes > 1:
            self._names = [name for name in self._names if name not in faults.OF_THE_BROKER]
        sizes = [min(SERIES, trials - begun) for begun in range(0, trials, SERIES)]
        seeds = [self._random.randrange(1 << 30) for _ in sizes]
        with Broker() as broker, ThreadPoolExecutor(lanes) as pool:
            for _ in pool.map(lambda s, n: self._run_series(broker, s, n, until), seeds, sizes):
                pass

    def _run_series(self, broker, seed: int, trials: int, until: float) -> None:
        if time.monotonic() >= until:
            return
        series, done, violation = f"{self.seed}/{seed}", 0, None
        prefix = f"chaos{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder, Registry() as registry:
            with BUILDING:
                deployment = self._deploy(broker, registry, prefix, Path(folder), seed, self._rate)
            try:
                with BUILDING:
                    deployment.scale(2)
                deployment.begin_load()
                deployment.wait_healthy()
                deployment.wait_progress()
                while done < trials and time.monotonic() < until:
                    self._trial(series, deployment, done)
                    done += 1
                self._settle(deployment)
                _say(f"series {series}: all equal, {deployment.sent} events, {deployment.exits}")
            except Exception as broken:  # noqa: BLE001 - a violation, or the laboratory itself: no verdict
                name = type(broken).__name__
                violation = f"trial {done}, {deployment.fault}: {name}: {broken}"
                _say(f"VIOLATION in series {series}, {violation}")
                self.tally.keep(series, [*deployment.logs, broker.log_file])
                broker.start()
            finally:
                deployment.close()
        self.tally.verdict(series, violation, deployment.sent, commit())

    def _trial(self, series: str, deployment: Deployment, number: int) -> None:
        chance = deployment.random
        name = chance.choices(self._names, [faults.WEIGHTS.get(n, 1) for n in self._names])[0]
        deployment.harmed, deployment.fault = 0.0, name
        injected = self._faults[name](deployment)
        harmed = deployment.harmed or time.monotonic()
        deployment.wait_healthy()
        takeover = injected.takeover or time.monotonic() - harmed
        deployment.wait_progress()
        self.tally.trial(series, name, injected.what, reached=injected.reached, takeover=takeover)
        missed = "" if injected.reached else " NOT REACHED"
        _say(f"{series} {number:3} {name} {injected.what}{missed}: running after {takeover:.1f} s")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> int:
    """Run a campaign from the command line; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--only", help="faults, separated by commas", default="")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--whole", action="store_true", help="the product's own stages and sinks")
    parser.add_argument("--lanes", type=int, default=1, help="series at a time, on one broker")
    parser.add_argument("--tally", type=Path, help="a file to add every trial to")
    parser.add_argument("--sum", action="store_true", help="only sum up the tally")
    given = parser.parse_args()
    if given.sum:
        tally = Tally.read(given.tally)
    else:
        _say(f"seed {given.seed}")
        tally = Tally(given.tally)
        names = [name for name in given.only.split(",") if name] or None
        campaign = Campaign(given.seed, names, tally, whole=given.whole)
        campaign.run(given.trials, time.monotonic() + given.minutes * 60, given.lanes)
    sys.stdout.write("\n".join([*tally.violations, tally.summary()]) + "\n")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
