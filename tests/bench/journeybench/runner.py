"""The peers' benchmark with our engine beside them: a broker of its own, their gate, their figures.

Run by ``./deploy/dev bench``. The peers lie in ``../shared/peers`` (``JB_PEERS``); what they need is
installed below ``JB_HOME`` by their own ``setup.sh``. An opponent that is not installed is left out,
and named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.testing.broker import Broker

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("JB_PEERS", HERE.parents[3] / "shared" / "peers"))
ENGINE_ROW = "ours_engine"


@contextmanager
def peers(home: Path, broker: Broker) -> Iterator[Any]:
    """Yield the peers' own ``run`` module, set up for this broker, with our engine among them."""
    os.environ |= {"JB_HOME": str(home), "JB_BROKER": broker.bootstrap}
    sys.path[:0] = [str(HERE), str(PEERS)]
    import check
    import job_stage
    import run

    pin(broker.pid, int(run.OTHER_CORE))
    root = HERE.parents[2]
    run.ENTRANTS[ENGINE_ROW] = [
        "env",
        f"PYTHONPATH={root}",
        sys.executable,
        str(HERE / "entrant.py"),
    ]
    check.STATES[ENGINE_ROW] = _states(check, job_stage)
    yield run


def _states(check: Any, job_stage: Any) -> Any:
    def states(env: dict[str, str]) -> dict[str, Any]:
        latest = {}
        for message in check.drain(env["JB_BROKER"], f"{env['JB_APP']}-customers-changelog"):
            if not message.key().startswith(b"\0"):
                latest[message.key().decode()] = job_stage.state_of(message.value())
        return latest

    return states


def pin(pid: int, core: int) -> None:
    """Keep a process and all its threads on one core; ``JB_NICE`` lifts it above what else runs."""
    nice = os.environ.get("JB_NICE")
    if nice:
        Path(f"/proc/{pid}/autogroup").write_text(nice)
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        if nice:
            os.setpriority(os.PRIO_PROCESS, int(task.name), int(nice))


def installed(run: Any, name: str) -> bool:
    """Return whether what an opponent needs is there."""
    command = run.ENTRANTS[name]
    if name == ENGINE_ROW:
        return True
    if name.startswith("kafka_streams"):
        return (run.HOME / "ks/target/kafka-streams-entrant-1.jar").exists()
    return all(Path(word).exists() for word in command if word.startswith("/"))


def drain(
    run: Any, name: str, *, count: int, customers: int, zipf: float, days: int
) -> dict[str, Any]:
    """Run one entrant over one preloaded log; return the peers' row, its gate included."""
    log_name, path, expected = run.event_log(count, customers, zipf, days)
    topics = run.Topics()
    events = run.preloaded(topics, log_name, path)
    row = run.drain_run(name, run.ENTRANTS[name], topics, events, expected, count, 45)
    return {"log": log_name, **row}
