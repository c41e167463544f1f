"""Faults of worker processes: killed, terminated, frozen, added, taken away, clocks that are wrong."""

from __future__ import annotations

import signal
import time

from chaos_worker import CHECKPOINT, OPENING, POINTS, REBALANCE
from deployment import Deployment
from injected import Injected

FREEZE_S = 14.0
"""Longer than the session of ten seconds: the group gives the partitions away."""
MOMENT_S = 20.0
"""So long a moment is waited for."""
OFFSETS_S = (3, 60, 3_600, 7_200, 3 * 86_400)


def a_worker(deployment: Deployment) -> int:
    return deployment.random.choice(sorted(deployment.workers))


def kill(deployment: Deployment) -> Injected:
    """SIGKILL at a random moment, started again at once."""
    slot = a_worker(deployment)
    time.sleep(deployment.random.random())
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot)
    return Injected(f"worker {slot}")


def kill_for_good(deployment: Deployment) -> Injected:
    """SIGKILL, and nobody starts it again until the others have taken everything over."""
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    began = time.monotonic()
    deployment.wait_healthy()
    took = time.monotonic() - began
    deployment.wait_progress()
    deployment.launch(slot)
    return Injected(f"worker {slot}, taken over by the others", takeover=took)


def kill_at_point(deployment: Deployment) -> Injected:
    """SIGKILL at a named point: of a checkpoint, an opening, a rebalance, an input, a sweep."""
    return at_point(deployment, deployment.random.choice(POINTS), "KILL")


def freeze_in_commit(deployment: Deployment) -> Injected:
    """SIGSTOP inside the write window, for longer than the session, then SIGCONT: a zombie."""
    return at_point(deployment, deployment.random.choice(CHECKPOINT[:-1]), "STOP")


def at_point(deployment: Deployment, point: str, how: str) -> Injected:
    """Send ``how`` at a point; what provokes the moment comes first or after, as it needs."""
    slot, hits = a_worker(deployment), deployment.random.randrange(1, 9)
    others = sorted(set(deployment.workers) - {slot})
    if point in OPENING:
        deployment.end(slot, signal.SIGKILL)
        deployment.wipe(slot)
        deployment.arm(slot, point, hits, how)
        deployment.launch(slot)
    elif point in REBALANCE:
        deployment.arm(slot, point, hits := 1, how)
        deployment.end(others[0], signal.SIGTERM)  # it leaves: the others share anew
        deployment.launch(others[0])
    else:
        deployment.arm(slot, point, hits, how)
    if point == "switch":
        deployment.switch_catalog()
    process = deployment.workers[slot]
    reached = _wait_for(lambda: process.poll() is not None or deployment.stopped(slot))
    deployment.harmed = time.monotonic()
    deployment.disarm(slot)
    if how == "STOP" and reached:
        time.sleep(FREEZE_S)
        process.send_signal(signal.SIGCONT)
    return Injected(f"worker {slot} at {point}:{hits}", reached)


def terminate(deployment: Deployment) -> Injected:
    """SIGTERM to all, one after the other."""
    slots = sorted(deployment.workers)
    deployment.random.shuffle(slots)
    for slot in slots:
        deployment.end(slot, signal.SIGTERM)
        deployment.launch(slot)
        deployment.wait_healthy()
    return Injected(f"workers {slots}")


def freeze(deployment: Deployment) -> Injected:
    """SIGSTOP beyond the session, then SIGCONT: a zombie."""
    slot = a_worker(deployment)
    process = deployment.workers[slot]
    process.send_signal(signal.SIGSTOP)
    time.sleep(FREEZE_S)
    process.send_signal(signal.SIGCONT)
    return Injected(f"worker {slot}")


def scale(deployment: Deployment) -> Injected:
    """To one worker, to three, to one, and back."""
    before = len(deployment.workers)
    for count in (1, 3, 1, before):
        deployment.scale(count)
        deployment.wait_healthy()
        time.sleep(deployment.random.random())
    return Injected(f"1 -> 3 -> 1 -> {before}")


def clock_ahead(deployment: Deployment) -> Injected:
    """A worker's clock runs ahead."""
    return _clock(deployment, 1)


def clock_behind(deployment: Deployment) -> Injected:
    """A worker's clock runs behind."""
    return _clock(deployment, -1)


def _clock(deployment: Deployment, sign: int) -> Injected:
    slot, offset = a_worker(deployment), sign * deployment.random.choice(OFFSETS_S)
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot, CHAOS_SKEW=str(offset))
    deployment.wait_healthy()
    deployment.wait_progress()
    time.sleep(3 * deployment.random.random())
    deployment.end(slot, signal.SIGKILL)
    deployment.launch(slot)
    return Injected(f"worker {slot} by {offset:+d} s")


def _wait_for(condition) -> bool:
    deadline = time.monotonic() + MOMENT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
