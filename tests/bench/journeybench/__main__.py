"""``./deploy/dev bench``: our two rows beside the given opponents, in one table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import product
import runner

from orchestrator.testing.broker import AS_DEPLOYED, Broker

COLUMNS = (
    "entrant",
    "cpu_s_per_M",
    "ev_s",
    "sut_core_share",
    "peak_rss_mb",
    "decisions",
    "decisions_ok",
    "state_ok",
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "orchestrator-bench"


def main() -> int:
    """Measure; 1 if a row of ours is not correct."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--zipf", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=1, help="interleaved: ratios within one run")
    parser.add_argument(
        "--only",
        default="floor,ours_engine,kafka_streams,ours_product",
        help="rows, separated by commas; also ours_example",
    )
    parser.add_argument("--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    if not runner.PEERS.is_dir():
        sys.stderr.write(f"the opponents are not at {runner.PEERS} (JB_PEERS)\n")
        return 3
    home = Path(os.environ.get("JB_HOME", CACHE))
    home.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with Broker(jvm=AS_DEPLOYED) as broker, runner.peers(home, broker) as run:
        os.sched_setaffinity(0, {int(run.OTHER_CORE)})
        for _ in range(given.runs):
            for name in given.only.split(","):
                row = _row(run, broker, name, given)
                if row is not None:
                    rows.append(row)
                    sys.stderr.write(json.dumps(row) + "\n")
    print(json.dumps(rows, indent=1) if given.output == "json" else table(rows))
    ours = [row for row in rows if row["entrant"].startswith("ours")]
    return int(not all(row["decisions_ok"] and row["state_ok"] for row in ours))


def _row(run: Any, broker: Broker, name: str, given: argparse.Namespace) -> dict[str, Any] | None:
    if name in product.ROWS:
        load = product.load_of(run, name, given.count, given.customers, given.zipf)
        return product.drain(run, broker, name, load, given.count)
    if not runner.installed(run, name):
        sys.stderr.write(
            f"{name} is left out: not installed (JB_HOME={run.HOME} {runner.PEERS}/setup.sh)\n"
        )
        return None
    return runner.drain(
        run,
        name,
        count=given.count,
        customers=given.customers,
        zipf=given.zipf,
        days=14,
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows under each other; CPU seconds per million events are us per event."""
    cells = [COLUMNS, *(tuple(str(row.get(name, "-")) for name in COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


if __name__ == "__main__":
    sys.exit(main())
