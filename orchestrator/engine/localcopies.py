"""The local copies of a task on this machine, looked at from outside its worker."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

from orchestrator.engine import meta as metas
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import TaskId
from orchestrator.engine.store import StoreCorrupt, Stores
from orchestrator.engine.timers import NEVER_DUE, key_of


class LocalCopy:
    """One directory below ``slot-N`` of a worker's ``data_dir``."""

    def __init__(self, slot: Path, task: TaskId) -> None:
        self.path = slot / str(task)
        self._slot = slot
        self._task = task

    @property
    def in_use(self) -> bool:
        """Whether a worker has it open: RocksDB's own lock is asked."""
        try:
            with (self.path / "LOCK").open("r+b") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def check(self) -> tuple[Meta, list[str]]:
        """Return the head of the copy and what is wrong with it. No worker may have it open."""
        meta, shares, armed, in_index = Meta(), 0, 0, 0
        try:
            store = Stores(self._slot).open(self._task)
            try:
                raw = store.meta()
                meta = metas.decode(raw) if raw else meta
                for key, value in store.items():
                    shares += metas.state_hash(key, value)
                    armed += value[:8] != NEVER_DUE
                for timer in store.timers(b""):
                    in_index += (store.get(key_of(timer)) or b"")[:8] == timer[:8]
            finally:
                store.close()
        except StoreCorrupt as corrupt:
            return meta, [str(corrupt)]
        wrong = []
        digest = metas.add_to_digest(0, shares)
        if meta.verified and digest != meta.digest:
            wrong.append(f"its states' digest is {digest:x}, its head says {meta.digest:x}")
        if in_index != armed:
            wrong.append(f"{armed - in_index} armed states are missing in its index of timers")
        return meta, wrong

    def wipe(self) -> None:
        """Remove it; a worker builds it again from the changelog."""
        Stores(self._slot).wipe(self._task)


def local_copies(data_dir: Path, task: TaskId) -> Iterator[LocalCopy]:
    """Yield the copies of ``task``: a partition that has moved may have one in several slots."""
    for slot in sorted(data_dir.glob("slot-*")):
        if (slot / str(task)).is_dir():
            yield LocalCopy(slot, task)
