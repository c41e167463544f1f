"""CPU per event of a whole worker process with the toy stage: Kafka, Avro, state, timers, commits.

Run: ``pytest tests/bench/test_engine_cpu.py -m bench -s``. Prints; asserts only that all arrived.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kafka"))

from engine_lab import Lab
from toys import event

pytestmark = [pytest.mark.kafka, pytest.mark.bench, pytest.mark.timeout(600)]

EVENTS = int(os.environ.get("BENCH_EVENTS", "200000"))
KEYS = 20_000


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_cpu_per_event(broker, registry, prefix, tmp_path, capsys):
    """A backlog on the timeline, applied by one worker: CPU and wall time per event."""
    lab = Lab(broker, registry, prefix, tmp_path)
    rnd = random.Random(1)
    lab.send(
        [event("toy.seen", n, customer=f"c{rnd.randrange(KEYS)}") for n in range(EVENTS)],
        logical="timeline",
    )
    with lab.worker() as worker:
        lab.wait_ready()

        def applied() -> float:
            text = lab.get("/metrics")[1]
            lines = [x for x in text.splitlines() if 'kind="events",stage="decide"' in x]
            return float(lines[0].split()[-1]) if lines else 0.0

        before, cpu, wall = applied(), cpu_seconds(worker.pid), time.monotonic()
        lab.wait("all applied", lambda: applied() >= EVENTS)
        events = EVENTS - before
        cpu, wall = cpu_seconds(worker.pid) - cpu, time.monotonic() - wall
        with capsys.disabled():
            print(
                f"\n{events:.0f} events: {cpu / events * 1e6:.1f} us CPU and "
                f"{wall / events * 1e6:.1f} us wall per event"
            )
