# ruff: noqa: E402 - neighbours are importable once their folders are known
"""Trials, one fault each, in rounds: a round is one deployment with its own topics and one verdict.

``./deploy/dev chaos --trials N --seed S`` runs it alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from deployment import Deployment, Violation
from faults import FAULTS, WEIGHTS

from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry

ROUND = 10
"""Trials between two verdicts: what is compared grows with the log."""
RATE = 100
"""Events a second: faults, not speed, are the point."""


class Campaign:
    """See the module docstring."""

    def __init__(self, seed: int, names: list[str] | None = None, rate: int = RATE) -> None:
        self.seed = seed
        self.done: Counter[str] = Counter()
        self.violations: list[str] = []
        self.recovery: dict[str, list[float]] = {}
        self._random = random.Random(seed)
        self._names = names or list(FAULTS)
        self._rate = rate

    def draw(self) -> str:
        """Return the next fault's name."""
        return self._random.choices(self._names, [WEIGHTS.get(n, 1) for n in self._names])[0]

    def run(self, trials: int, until: float = float("inf")) -> None:
        """Run so many trials, or as many as begin before ``until`` (monotonic)."""
        with Broker() as broker, Registry() as registry:
            left = trials
            while left and time.monotonic() < until:
                left -= self._round(broker, registry, min(left, ROUND), until)

    def _round(self, broker, registry, trials: int, until: float) -> int:
        seed = self._random.randrange(1 << 30)
        prefix = f"chaos{uuid.uuid4().hex[:8]}"
        done = 0
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            deployment = Deployment(broker, registry, prefix, Path(folder), seed, self._rate)
            deployment.broker = broker
            try:
                deployment.scale(2)
                deployment.wait_healthy()
                deployment.begin_load()
                while done < trials and time.monotonic() < until:
                    self._trial(deployment)
                    done += 1
                deployment.settle()
                _say(
                    f"round of {done}: all equal, {deployment.sent} events, exits "
                    f"{dict(deployment.exits)}"
                )
            except Violation as violation:
                self.violations.append(f"seed {self.seed}, round seed {seed}: {violation}")
                _say(f"VIOLATION in the round of seed {seed}: {violation}")
                broker.start()
                done = max(done, 1)
            finally:
                deployment.close()
        return done

    def _trial(self, deployment: Deployment) -> None:
        name = self.draw()
        self.done[name] += 1
        began = time.monotonic()
        if deployment.random.random() < 0.2:
            deployment.switch_catalog()
        what = FAULTS[name](deployment)
        healed = time.monotonic()
        deployment.wait_healthy()
        took = time.monotonic() - healed
        self.recovery.setdefault(name, []).append(took)
        _say(
            f"{self.done.total():4} {name} {what}: ready after {took:.1f} s ({healed - began:.1f} s)"
        )
        time.sleep(deployment.random.random() * 2)

    def summary(self) -> str:
        """Return the last lines: figures by fault, then the verdict."""
        lines = [
            f"{name:18} {count:4} trials, ready again p50 {_quantile(self.recovery.get(name), 0.5)} "
            f"max {_quantile(self.recovery.get(name), 1)} s"
            for name, count in sorted(self.done.items())
        ]
        trials, violations = self.done.total(), len(self.violations)
        bound = f"{300 / trials:.1f}" if trials and not violations else "-"
        lines.append(f"trials {trials} violations {violations} bound {bound} %")
        return "\n".join(lines)


def _quantile(values: list[float] | None, share: float) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.1f}"


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
    given = parser.parse_args()
    _say(f"seed {given.seed}")
    campaign = Campaign(given.seed, [n for n in given.only.split(",") if n] or None)
    campaign.run(given.trials, time.monotonic() + given.minutes * 60)
    sys.stdout.write(campaign.summary() + "\n")
    return 1 if campaign.violations else 0


if __name__ == "__main__":
    sys.exit(main())
