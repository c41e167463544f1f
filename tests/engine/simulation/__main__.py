"""Run many seeds: ``python tests/engine/simulation --work toy --first 0 --count 1000 [--state FILE]``.

A seed that fails is printed with the line that runs it alone; the last line sums up. With ``--state``
the file says how far a long run has come, and the next call goes on there.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

from simulation.runs import run  # noqa: E402 - the path comes first
from simulation.work import DecideWork, Work  # noqa: E402 - same

WORKS = {"toy": Work, "decide": DecideWork}
SAVED = 100


def main() -> int:
    """Return 1 if a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=sorted(WORKS), default="toy")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--state", type=Path)
    asked = parser.parse_args()
    end, seed, failures = asked.first + asked.count, asked.first, 0
    if asked.state is not None and asked.state.exists():
        seed, failures = map(int, asked.state.read_text().split())
    began, faults, steps = time.process_time(), Counter(), set()
    while seed < end:
        try:
            done = run(seed, WORKS[asked.work]()).faults
        except Exception:  # noqa: BLE001 - the next seed has its own chance
            failures += 1
            print(f"FAILED: python tests/engine/simulation --work {asked.work} --first {seed}")
            print(traceback.format_exc(limit=-3)[:4_000], flush=True)
        else:
            faults.update(
                crashes=done.crashes,
                freezes=done.freezes,
                stops=done.stops,
                disks=done.disks,
                rebalances=done.rebalances,
            )
            steps |= done.at
        seed += 1
        if asked.state is not None and (seed % SAVED == 0 or seed == end):
            asked.state.write_text(f"{seed} {failures}\n")
    told = ", ".join(f"{name} {count}" for name, count in faults.items())
    print(f"{asked.work}: seeds {asked.first}..{end - 1}, failures {failures}; {told};", end=" ")
    print(f"died at {len(steps)} kinds of steps; {time.process_time() - began:.0f} s of CPU")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
