# ruff: noqa: E402 - neighbours are importable once their folders are known
"""How long partitions that stay where they are stand still while workers come and go.

``python tests/chaos/standstill.py [ROUNDS]``: two workers under load, a third joins and leaves. The
figure is the engine's own (``still_s`` of its log line ``assigned``): from the last record before
the rebalance until the kept partitions run again. On a busy machine it says little.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import uuid
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from deployment import Deployment

from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    prefix = f"still{uuid.uuid4().hex[:8]}"
    with Broker() as broker, Registry() as registry, tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(broker, registry, prefix, Path(folder), seed=1, rate=100)
        try:
            deployment.scale(2)
            deployment.begin_load()
            deployment.wait_healthy()
            begun = {slot: len(deployment.log(slot)) for slot in (0, 1)}
            for _ in range(rounds):
                for count in (3, 2):
                    deployment.scale(count)
                    deployment.wait_healthy()
            lines = [
                json.loads(line)
                for slot, at in begun.items()
                for line in deployment.log(slot)[at:].splitlines()
                if '"still_s"' in line
            ]
        finally:
            deployment.close()
    stood = sorted(line["still_s"] for line in lines if line["kept"])
    middle = f"p50 {statistics.median(stood):.2f} s, max {stood[-1]:.2f} s"
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    sys.stdout.write(f"{len(stood)} times partitions were kept: {middle}; {load}\n")


if __name__ == "__main__":
    main()
