"""The disk under ``worker.data_dir``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.doctor._checks import Check, finding, ok

if TYPE_CHECKING:
    from orchestrator.settings import Settings

LEAST_BYTES: Final = 1 << 30
"""RocksDB needs room to compact: about as much as its largest level."""
LEAST_SHARE: Final = 0.1


def disk(settings: Settings) -> Iterator[Check]:
    """Look for room, and for the right to write."""
    name, wanted = "disk", Path(settings.worker.data_dir).absolute()
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield finding(
            name,
            f"{there} cannot be written to by user {os.getuid()}",
            "give the role's user the directory, or set worker.data_dir",
        )
        return
    usage = shutil.disk_usage(there)
    free = f"{usage.free / 2**30:.1f} GiB of {usage.total / 2**30:.1f} GiB free at {there}"
    if usage.free < min(LEAST_BYTES, usage.total) or usage.free < LEAST_SHARE * usage.total:
        yield finding(name, free, "enlarge the volume; local state may be deleted, it is rebuilt")
    else:
        yield ok(name, free)
