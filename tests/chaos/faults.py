"""Faults, each a function of a running deployment; the seed decides the rest."""

from __future__ import annotations

import signal
import time

from chaos_worker import POINTS
from deployment import Deployment

FREEZE_S = 14.0
"""Longer than the session of ten seconds: the group gives the partitions away."""
OUTAGE_S = 20.0


def a_worker(deployment: Deployment) -> int:
    return deployment.random.choice(sorted(deployment.workers))


def kill(deployment: Deployment) -> str:
    """SIGKILL at a random moment, started again at once."""
    slot = a_worker(deployment)
    time.sleep(deployment.random.random())
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot)
    return f"worker {slot}"


def kill_at_point(deployment: Deployment) -> str:
    """SIGKILL at a named point."""
    slot, point = a_worker(deployment), deployment.random.choice(POINTS)
    hits = 1 if point in {"suspended", "assigned"} else deployment.random.randrange(1, 9)
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot, f"{point}:{hits}:KILL")
    process = deployment.workers[slot]
    if point == "switch":
        deployment.switch_catalog()
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    reached = process.poll() is not None
    if not reached:  # no such moment came: an ordinary kill
        deployment.end(slot, signal.SIGKILL)
        deployment.launch(slot)
    return f"worker {slot} at {point}:{hits}{'' if reached else ' (not reached)'}"


def terminate(deployment: Deployment) -> str:
    """SIGTERM to all, one after the other."""
    slots = sorted(deployment.workers)
    deployment.random.shuffle(slots)
    for slot in slots:
        deployment.end(slot, signal.SIGTERM)
        deployment.launch(slot)
        deployment.wait_healthy()
    return f"workers {slots}"


def freeze(deployment: Deployment) -> str:
    """SIGSTOP beyond the session, then SIGCONT: a zombie."""
    slot = a_worker(deployment)
    process = deployment.workers[slot]
    process.send_signal(signal.SIGSTOP)
    time.sleep(FREEZE_S)
    process.send_signal(signal.SIGCONT)
    return f"worker {slot}"


def freeze_in_commit(deployment: Deployment) -> str:
    """The same inside the write window."""
    slot = a_worker(deployment)
    point = deployment.random.choice(["begun", "produced", "flushed", "committed"])
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot, f"{point}:{deployment.random.randrange(1, 9)}:STOP")
    process = deployment.workers[slot]
    deadline = time.monotonic() + 20
    while not deployment.stopped(slot) and time.monotonic() < deadline:
        time.sleep(0.1)
    reached = deployment.stopped(slot)
    time.sleep(FREEZE_S if reached else 0)
    process.send_signal(signal.SIGCONT)
    return f"worker {slot} at {point}{'' if reached else ' (not reached)'}"


def empty_disk(deployment: Deployment) -> str:
    """SIGKILL, and the disk is gone."""
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    deployment.wipe(slot)
    deployment.launch(slot)
    return f"worker {slot}"


def corrupted_disk(deployment: Deployment) -> str:
    """SIGKILL, and a file of RocksDB is damaged."""
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    done = deployment.damage(slot)
    deployment.launch(slot)
    return f"worker {slot}: {done}"


def scale(deployment: Deployment) -> str:
    """To one worker, to three, and back."""
    before = len(deployment.workers)
    for count in (1, 3, before):
        deployment.scale(count)
        deployment.wait_healthy()
        time.sleep(deployment.random.random())
    return "1 -> 3 -> " + str(before)


def broker_restart(deployment: Deployment) -> str:
    """An orderly restart of the only broker."""
    deployment.broker.restart()
    return ""


def broker_kill(deployment: Deployment) -> str:
    """The only broker is killed and started again."""
    deployment.broker.kill()
    deployment.broker.start()
    return ""


def broker_outage(deployment: Deployment) -> str:
    """The only broker is away for a while."""
    deployment.broker.stop()
    time.sleep(OUTAGE_S)
    deployment.broker.start()
    return f"{OUTAGE_S:g} s"


FAULTS = {
    "kill": kill,
    "kill_at_point": kill_at_point,
    "terminate": terminate,
    "freeze": freeze,
    "freeze_in_commit": freeze_in_commit,
    "empty_disk": empty_disk,
    "corrupted_disk": corrupted_disk,
    "scale": scale,
    "broker_restart": broker_restart,
    "broker_kill": broker_kill,
    "broker_outage": broker_outage,
}
WEIGHTS = {"kill": 6, "kill_at_point": 8, "empty_disk": 3, "corrupted_disk": 3}
"""Of what is quick to do there is more; all else counts once."""
