"""Faults of a worker's disk: empty, damaged, full."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random

from deployment import Deployment, Violation
from faults_workers import MOMENT_S, a_worker
from injected import Injected

SMALL_MB = 48
Harm = Callable[[Path, int], object]
"""What is done to a file at an offset."""


def empty_disk(deployment: Deployment) -> Injected:
    """SIGKILL, and the disk is gone."""
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    deployment.wipe(slot)
    deployment.launch(slot)
    return Injected(f"worker {slot}")


def flipped_byte(deployment: Deployment) -> Injected:
    """SIGKILL, and a byte of each RocksDB is another."""
    return _damage(deployment, "flipped")


def truncated_file(deployment: Deployment) -> Injected:
    """SIGKILL, and a file of each RocksDB is shorter."""
    return _damage(deployment, "cut")


def deleted_file(deployment: Deployment) -> Injected:
    """SIGKILL, and a file of each RocksDB is gone."""
    return _damage(deployment, "removed")


def _damage(deployment: Deployment, how: str) -> Injected:
    """SIGKILL, and harm each copy on the worker's disk: also those that it closed in order before.

    A copy of a partition that moved away is opened again when it comes back, days later perhaps.
    """
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    harmed = harm(deployment.disk(slot).glob("*-*"), deployment.random, HARMS[how])
    deployment.launch(slot)
    return Injected(f"worker {slot}: {how} {', '.join(harmed)}", reached=bool(harmed))


def flip(victim: Path, at: int) -> None:
    """Make another byte of the one at ``at``."""
    data = bytearray(victim.read_bytes())
    data[at] ^= 0xFF
    victim.write_bytes(data)


HARMS: Mapping[str, Harm] = {
    "flipped": flip,
    "cut": os.truncate,
    "removed": lambda victim, _: victim.unlink(),
}


def harm(copies: Iterable[Path], chance: Random, do: Harm) -> list[str]:
    """Harm one file of each RocksDB; return which, and where."""
    harmed = []
    for copy in sorted(copies):
        if files := [file for file in sorted(copy.iterdir()) if _holds_data(file)]:
            victim = chance.choice(files)
            at = chance.randrange(victim.stat().st_size)
            do(victim, at)
            harmed.append(f"{copy.name}/{victim.name} at {at}")
    return harmed


def _holds_data(file: Path) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    return file.suffix in {".sst", ".log"} or file.name.startswith(("MANIFEST", "CURRENT"))


def disk_full(deployment: Deployment) -> Injected:
    """No room is left on a worker's disk: it ends and says so, and goes on when there is room."""
    slot = a_worker(deployment)
    deployment.end(slot, signal.SIGKILL)
    allowed = deployment.mount_small(slot, SMALL_MB)
    deployment.launch(slot)
    if not allowed:
        return Injected("no tmpfs here", reached=False)
    deployment.wait_healthy()
    seen = len(deployment.log(slot))
    ballast = deployment.disk(slot) / "ballast"
    process, deadline = deployment.workers[slot], time.monotonic() + MOMENT_S
    while process.poll() is None and time.monotonic() < deadline:
        _fill(ballast)
        time.sleep(0.1)
    ended = process.poll() is not None
    time.sleep(deployment.random.random() * 3)  # meanwhile its supervisor may try again
    deployment.supervise()
    deployment.harmed = time.monotonic()
    ballast.unlink()
    told = deployment.log(slot)[seen:]
    if ended and (process.returncode == 0 or "disk" not in told.lower()):
        raise Violation(f"full disk: ended with {process.returncode} and said\n{told[-3000:]}")
    return Injected(f"worker {slot} ended with {process.returncode}", ended)


def _fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
